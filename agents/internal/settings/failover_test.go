package settings_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/settings"
)

func TestTimesOfAFailover(t *testing.T) {
	for name, tt := range map[string]struct {
		failover, want string
		lease          time.Duration
	}{
		"defaults":                       {"", "", 20 * time.Second},
		"defaults_and_a_long_lease":      {"", "promoteTimeout is 1m0s: with a lease of 21s it must be at least 1m3s", 21 * time.Second},
		"promotion_shorter_than_a_lease": {"promoteTimeout: 20s", "at least 24s", 8 * time.Second},
		"promotion_as_short_as_may_be":   {"promoteTimeout: 24s", "", 8 * time.Second},
		"promotion_has_no_time":          {"promoteTimeout: 14s", "failover.promoteTimeout", 2 * time.Second},
		"slow_server_counts_as_hung":     {"hangTimeout: 9s", "failover.hangTimeout", 8 * time.Second},
		"no_duration":                    {"maxCrashRecovery: soon", "failover.maxCrashRecovery", 8 * time.Second},
		"no_recovery_in_place":           {"maxCrashRecovery: 0s", "", 8 * time.Second},
		"two_at_once":                    {"hangTimeout: 9s, electionWait: -1s", "failover.electionWait", 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := settings.Parse([]byte("release: db\nfailover: {" + tt.failover + "}\n"))
			if err == nil {
				err = s.Failover.Fits(tt.lease)
			}
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
