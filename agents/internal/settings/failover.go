package settings

import (
	"errors"
	"fmt"
	"time"
)

// Failover limits elections and what follows from them. Zero values stand for the defaults.
type Failover struct {
	// ElectionWait is how long members that are not heard are waited for (Go duration; 2s).
	ElectionWait string `json:"electionWait,omitempty"`
	// MaxLagOnFailover is how many bytes of WAL a winner may lack of what the leader last told (16 MiB). Asynchronous mode only.
	MaxLagOnFailover *int64 `json:"maxLagOnFailover,omitempty"`
	// MaxAutoDiscard is how many bytes of WAL past the fork a diverged member gives up by itself (64 MiB).
	MaxAutoDiscard *int64 `json:"maxAutoDiscard,omitempty"`
	// PromoteTimeout is how long a leader may be without a server that writes before it gives the right up, if another member could do better
	// (Go duration; 60s).
	PromoteTimeout string `json:"promoteTimeout,omitempty"`
	// MaxCrashRecovery is how long the recovery of a crashed server may take, in asynchronous mode, before a member that may lack its last
	// transactions takes over (Go duration; 5m).
	MaxCrashRecovery string `json:"maxCrashRecovery,omitempty"`
	// HangTimeout is how long a server, or its volume, may be silent before its leader gives the right up (Go duration; 30s).
	HangTimeout string `json:"hangTimeout,omitempty"`
	// Priority of the pods of either set when positions are equal; higher wins. NeverLead bars a set from leading.
	Priority  map[string]int  `json:"priority,omitempty"`
	NeverLead map[string]bool `json:"neverLead,omitempty"`
	// FailBackAfter is for how long a member of the primary set must have been fit before a leader that is not of it hands over to it (Go
	// duration). Empty: it does not.
	FailBackAfter string `json:"failBackAfter,omitempty"`
}

// Defaults of Failover.
const (
	defaultElectionWait = 2 * time.Second
	defaultMaxLag       = 16 << 20
	defaultMaxDiscard   = 64 << 20
	defaultPromote      = time.Minute
	defaultRecovery     = 5 * time.Minute
	defaultHang         = 30 * time.Second
)

// Least values: a promotion needs a grant with time left, and its second try another one; a server is asked every few seconds, and one that is
// starved answers late.
const (
	leastPromote = 15 * time.Second
	leastHang    = 10 * time.Second
	// leastLeases is how many lease durations promoteTimeout must have at least: within one, nobody can tell a slow promotion from none.
	leastLeases = 3
)

// Promote is PromoteTimeout or its default, Recovery MaxCrashRecovery, Hang HangTimeout; Parse has checked them.
func (f Failover) Promote() time.Duration  { return duration(f.PromoteTimeout, defaultPromote) }
func (f Failover) Recovery() time.Duration { return duration(f.MaxCrashRecovery, defaultRecovery) }
func (f Failover) Hang() time.Duration     { return duration(f.HangTimeout, defaultHang) }

// FailBack is FailBackAfter; 0: never.
func (f Failover) FailBack() time.Duration { return duration(f.FailBackAfter, 0) }

func duration(text string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(text); err == nil {
		return d
	}
	return otherwise
}

// Fits reports what is wrong with the times for a lease of that duration.
func (f Failover) Fits(lease time.Duration) error {
	if least := leastLeases * lease; f.Promote() < least {
		return fmt.Errorf("%w: failover.promoteTimeout is %s: with a lease of %s it must be at least %s", ErrWrong, f.Promote(), lease, least)
	}
	return nil
}

func (f Failover) validate() error {
	var problems []error
	for _, d := range []struct {
		name, text string
		least      time.Duration
	}{
		{"electionWait", f.ElectionWait, 0}, {"promoteTimeout", f.PromoteTimeout, leastPromote},
		{"maxCrashRecovery", f.MaxCrashRecovery, 0}, {"hangTimeout", f.HangTimeout, leastHang},
		{"failBackAfter", f.FailBackAfter, time.Second},
	} {
		if d.text == "" {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil || v < d.least || v > 24*time.Hour {
			problems = append(problems, fmt.Errorf("failover.%s is %q: want a duration from %s to 24h", d.name, d.text, d.least))
		}
	}
	if f.MaxLag() < 0 || f.MaxDiscard() < 0 {
		problems = append(problems, errors.New("failover.maxLagOnFailover and failover.maxAutoDiscard are bytes, 0 or more"))
	}
	return errors.Join(problems...)
}

// Wait is ElectionWait; Parse has checked it.
func (f Failover) Wait() time.Duration {
	if d, err := time.ParseDuration(f.ElectionWait); err == nil {
		return d
	}
	return defaultElectionWait
}

// MaxLag is MaxLagOnFailover or its default.
func (f Failover) MaxLag() int64 { return or(f.MaxLagOnFailover, defaultMaxLag) }

// MaxDiscard is MaxAutoDiscard or its default.
func (f Failover) MaxDiscard() int64 { return or(f.MaxAutoDiscard, defaultMaxDiscard) }

func or(p *int64, d int64) int64 {
	if p == nil {
		return d
	}
	return *p
}
