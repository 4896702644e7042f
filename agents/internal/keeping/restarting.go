package keeping

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// primaryRestart is how long the shutdown of a primary that is restarted for its settings may take. Then it is called off: guard kills what
	// is left, and the server begins anew with them all the same.
	primaryRestart = 10 * time.Second
	// standbyRestart is the same for a standby, where nobody waits; guard has a limit of its own.
	standbyRestart = 5 * time.Minute
)

// rerun is the run of a server that is to end, so that the next one has the settings that wait for it.
type rerun struct {
	run   string
	pid   int
	since boottime.Instant
	why   string
}

// restart says why the server that runs is to be restarted; empty: it is not. The answer stays the same until another server runs, or the
// shutdown has taken too long.
func (k *Keeper) restart(n known, v lease.View, now boottime.Instant) string {
	s := n.state
	if s == nil || s.Server == grant.Down || s.LastPID == 0 {
		return ""
	}
	status := n.freshStatus(now)
	if r := n.rerun; r.pid == s.LastPID && (status == nil || runOf(*status) == r.run) {
		limit := primaryRestart
		if s.Server == grant.Standby {
			limit = standbyRestart
		}
		if now.Sub(r.since) > limit {
			return ""
		}
		return r.why
	}
	if status == nil {
		return ""
	}
	why := rerunWhy(*status, n.figures, v.Record, k.me().Member)
	if why != "" {
		k.change(func(n *known) { n.rerun = rerun{runOf(*status), s.LastPID, now, why} })
	}
	return why
}

// rerunWhy: the leader's rollout says so, or replay has paused because the leader has more of what a standby must have no less of. That one helps
// nobody as it is, and what it is started with next is enough: guard takes the greater of what is asked for and what the leader has.
func rerunWhy(s pg.Status, f *pg.Figures, r record.Record, me string) string {
	if o, open := r.OpenRollout(); open && o.Step != nil && o.Step.UID == "" && o.Step.Member == me && o.Step.Run == runOf(s) {
		return fmt.Sprintf("rollout %s: %s", o.ID, o.Step.Reason)
	}
	if !s.InRecovery || !s.ReplayPaused || f == nil {
		return ""
	}
	var less []string
	for _, name := range f.PendingRestart {
		if pgconf.MustMatch(name) {
			less = append(less, name)
		}
	}
	if len(less) == 0 {
		return "" // paused by somebody
	}
	return "replay is paused, because the leader has more of " + strings.Join(less, ", ")
}

// runOf names the present run of a server, by its own word. It is only compared for equality.
func runOf(s pg.Status) string { return s.Started.UTC().Format(time.RFC3339Nano) }

// figuresEvery: quicker while somebody waits for what a server says of its settings.
func figuresEvery(s pg.Status, r record.Record) time.Duration {
	if _, open := r.OpenRollout(); open || s.InRecovery && s.ReplayPaused {
		return 2 * time.Second
	}
	return 15 * time.Second
}

// reloadTime is how long after guard has rendered other settings the server has certainly read them.
const reloadTime = 1500 * time.Millisecond

// told follows what guard has rendered, so that what a server says of settings that wait for a restart is not taken for its word on settings that
// it has not read yet.
type told struct {
	rendered string
	since    boottime.Instant
}

// look returns what the server goes by at now; empty while it may not have read it.
func (t *told) look(now boottime.Instant, s *grant.State) string {
	if r := renderedOf(s); r != t.rendered {
		t.rendered, t.since = r, now
	}
	if now.Sub(t.since) < reloadTime {
		return ""
	}
	return t.rendered
}

// renderedOf names what guard has rendered.
func renderedOf(s *grant.State) string {
	if s == nil || s.Settings == "" {
		return ""
	}
	return s.Settings + " " + strings.Join(s.Raised, " ")
}

// tellUnusable tells people, once for each change, of settings that the server cannot take. Nothing else would: it goes on with what it had, and ends
// at its next start.
func (k *Keeper) tellUnusable(now []string) {
	var before []string
	if f := k.look().figures; f != nil {
		before = f.Unusable
	}
	switch said := strings.Join(now, "; "); {
	case said == strings.Join(before, "; "):
	case said == "":
		k.log.Info("the server can take its settings again")
		k.events.Tell(false, "SettingsUsable", "the server can take its settings again")
	default:
		k.log.Error("the server cannot take its settings", "settings", said)
		k.events.Tell(true, "SettingsUnusable", "the server goes on with what it had and would not start again, until postgresql.parameters are put right: "+said)
	}
}

// goesBy is the name of the settings that the server goes by and that its figures are about; empty: not known yet.
func (n known) goesBy() string {
	if n.figures == nil || n.figured == "" || n.figured != renderedOf(n.state) {
		return ""
	}
	return n.state.Settings
}
