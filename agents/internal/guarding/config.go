package guarding

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/podenv"
)

// Config is everything that guard reads from its environment.
type Config struct {
	podenv.Pod
	FenceAfter  time.Duration `envconfig:"PGSPAN_FENCE_AFTER" default:"6s" desc:"length of a fresh grant to be primary, as keeper gives it"`
	StopTimeout time.Duration `envconfig:"PGSPAN_STOP_TIMEOUT" default:"60s" desc:"the pod's grace period: what a shutdown may take in all"`
	Listen      string        `envconfig:"PGSPAN_LISTEN" default:":8007" desc:"where /livez answers"`
	LogLevel    string        `envconfig:"PGSPAN_LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`
}

// lastResort is how long before the end of its grace period a container that still shuts down is killed by guard itself: time enough to
// see it die and to report that.
const lastResort = 5 * time.Second

// Validate reports every problem at once, in the operator's words.
func (c Config) Validate() error {
	problems := c.Pod.Validate()
	if c.FenceAfter < time.Second || c.FenceAfter > time.Hour {
		problems = append(problems, fmt.Sprintf("PGSPAN_FENCE_AFTER is %v: want 1s to 1h, the same as keeper's", c.FenceAfter))
	}
	if c.StopTimeout < 2*lastResort {
		problems = append(problems, fmt.Sprintf("PGSPAN_STOP_TIMEOUT is %v: want %v or more, the pod's terminationGracePeriodSeconds", c.StopTimeout, 2*lastResort))
	}
	if c.Listen == "" {
		problems = append(problems, "PGSPAN_LISTEN is empty: the liveness probe needs an address such as :8007")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		problems = append(problems, fmt.Sprintf("PGSPAN_LOG_LEVEL is %q: want debug, info, warn or error", c.LogLevel))
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// Logger writes JSON lines with UTC times.
func (c Config) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // Validate has complained
	return c.Pod.Logger(w, level, program)
}
