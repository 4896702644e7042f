package podenv

import (
	"io"
	"log/slog"
)

// Logger writes one JSON object per line, with times in UTC and who speaks.
func (p Pod) Logger(w io.Writer, level slog.Level, agent string) *slog.Logger {
	utc := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Value = slog.TimeValue(a.Value.Time().UTC())
		}
		return a
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: utc})).With("agent", agent, "pod", p.PodName)
}
