package settings

import "fmt"

// Synchronous says whether commits wait until other members have them on disk.
type Synchronous struct {
	// Mode is off (or empty): they do not; any: for Number members, or as many as there are; strict: for Number, however long.
	Mode string `json:"mode,omitempty"`
	// Number of members that must have a commit (1).
	Number int `json:"number,omitempty"`
}

// On reports whether commits are to wait.
func (s Synchronous) On() bool { return s.Mode == "any" || s.Mode == "strict" }

// Strict reports whether they wait however long.
func (s Synchronous) Strict() bool { return s.Mode == "strict" }

// Members is Number or its default.
func (s Synchronous) Members() int { return max(s.Number, 1) }

func (s Synchronous) validate() error {
	switch {
	case s.Mode != "" && s.Mode != "off" && !s.On():
		return fmt.Errorf("synchronous.mode is %q: want off, any or strict", s.Mode)
	case s.Number < 0:
		return fmt.Errorf("synchronous.number is %d: want 1 or more", s.Number)
	}
	return nil
}
