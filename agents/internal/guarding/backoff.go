package guarding

import "time"

const (
	longestPause = 30 * time.Second
	// settled is how long a server must have been ready before its next failure counts as the first one.
	settled = time.Minute
)

// pause is how long to wait before the next start after so many failures in a row. The first restart is at once: a crash in the middle of
// work is no sign that the next start fails, and writes wait for it.
func pause(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	d := time.Second << min(failures-2, 10)
	return min(d, longestPause)
}
