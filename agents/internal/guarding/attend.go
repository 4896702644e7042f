package guarding

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/derive"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/postmaster"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// attend does what the grants say to a running server until its postmaster has ended or the fence has fired.
func (g *Guard) attend(ctx context.Context, signals <-chan os.Signal, l *life) {
	for ctx.Err() == nil {
		if l.server.Ended() || g.fence.Fired() {
			return
		}
		g.look(l)
		g.limits(ctx, l)
		newest := g.grants.newest.Load()
		g.note(l, newest)
		action, reason := Next(g.facts(l, newest))
		switch action {
		case Follow:
			g.follow(ctx, l, newest.Bound(l.ready.Note.Vote))
		case Promote:
			g.promote(ctx, l, *newest)
			if l.kind == grant.Standby {
				reason = notPromoted + l.hold
			}
		case Stop:
			g.stop(l, reason)
		case Fence:
			g.log.Warn("server is killed", "reason", reason)
			l.why = reason
			g.fence.Fire()
		}
		if g.sources.due && !l.stopping {
			g.follow(ctx, l, l.granted)
		}
		g.reload(l)
		g.vote(l)
		g.tell(l, reason)
		longest := turn
		if l.accepting && !l.stopping && l.kind != grant.Promoting && !l.reload {
			longest = calm
		}
		g.wait(ctx, signals, l.server.Done(), longest)
	}
}

// note keeps on the volume, before it is acted upon, the newest epoch that was seen (SAFETY D12) and the version that is voted on (rule 8).
// Starts and promotions note the epoch too, and cannot go on without; a standby that merely follows does, and the note is tried again.
func (g *Guard) note(l *life, newest *grant.Grant) {
	if newest == nil {
		return
	}
	votes := newest.Vote && newest.Version.Newer(l.ready.Note.Vote)
	fenced := byHand(*newest, l.ready.Note.Fenced)
	if !votes && fenced == l.ready.Note.Fenced && newest.Epoch.Compare(l.ready.Note.HighestEpoch) <= 0 {
		return
	}
	note, err := notes.Update(g.paths, func(m *notes.Member) {
		m.See(newest.Epoch)
		m.Fenced = fenced
		if votes {
			m.Vote = newest.Version
		}
	})
	if err != nil {
		g.warn("note what was seen", err)
		return
	}
	l.ready.Note = note
	g.report.Update(func(s *grant.State) {
		if s.Volume != nil {
			v := *s.Volume
			v.HighestEpoch, v.Fenced = note.HighestEpoch, note.Fenced
			s.Volume = &v
		}
	})
}

// vote reports the version that was voted on, once it is on disk and the server was told to stream from nobody.
func (g *Guard) vote(l *life) {
	var vote epoch.Version
	if l.kind == grant.Standby && l.granted.Upstream == nil && !l.reload {
		vote = l.ready.Note.Vote
	}
	if g.report.Current().Vote != vote {
		g.report.Update(func(s *grant.State) { s.Vote = vote })
	}
}

func (g *Guard) facts(l *life, newest *grant.Grant) Facts {
	now := boottime.Now()
	f := Facts{
		Now: now, Grant: newest, Server: l.kind, Ready: l.accepting, Reign: l.reign, Following: FollowingOf(l.granted), Signal: l.signal,
		Vote: l.ready.Note.Vote, Terminating: g.end.asked, HandBy: g.end.handBy, Stopping: l.stopping, FenceAfter: g.config.FenceAfter,
	}
	if c := l.ready.Data.Control; c != nil {
		f.SystemID = c.SystemID
	}
	if newest != nil && newest.Seq == l.holdSeq {
		f.Hold, f.HoldUntil = l.hold, l.holdUntil
	}
	if l.stopping {
		f.Overdue = !now.Before(l.killAt) || g.end.asked && !now.Before(g.end.kill)
	}
	return f
}

// look finds out what the server has done by itself.
func (g *Guard) look(l *life) {
	if status, err := l.server.Status(); err == nil {
		l.up = l.up || status != postmaster.Unknown
		if status.Accepts() && !l.accepting {
			l.accepting, l.since = true, boottime.Now()
		}
	}
	signal, err := postmaster.HasStandbySignal(g.paths.Data())
	if err != nil {
		return // not found out: what was known goes on
	}
	l.signal = signal
	if l.kind == grant.Promoting && !signal {
		g.promoted(l)
	}
}

// phase is what the server does, as long as it is not being killed.
func (l *life) phase() grant.Phase {
	switch {
	case l.stopping:
		return grant.Stopping
	case l.accepting:
		return grant.Running
	default:
		return grant.Starting
	}
}

// tell reports the server.
func (g *Guard) tell(l *life, reason string) {
	switch {
	case l.stopping && l.why != "":
		reason = l.why
	case reason == "" && !l.accepting:
		reason = l.began
	}
	if !g.fence.Fired() { // prove tells the rest
		g.say(l.phase(), l.kind, reason)
	}
}

// deriveEvery is the pause after a try to derive that did not work.
const deriveEvery = time.Second

// follow renders the configuration for a grant, from sources as they are now.
func (g *Guard) follow(ctx context.Context, l *life, to grant.Grant) {
	now := boottime.Now()
	if now.Before(l.deriveAt) {
		return
	}
	var result derive.Result
	var s settings.Settings
	err := g.reaper.Aside(func() (err error) {
		if s, err = settings.Read(g.config.Settings); err != nil {
			return err
		}
		result, err = derive.All(ctx, g.config.Pod, derive.Input{
			Settings: s, Tools: l.ready.Tools, Control: l.ready.Data.Control, Writable: l.kind != grant.Standby, Grant: &to,
		})
		return err
	})
	if err != nil {
		// Keys and configuration that are in place stay, and so does the stream.
		l.deriveAt = now.Add(deriveEvery)
		g.warn("derive keys and configuration", err)
		return
	}
	g.sources.due = false
	l.granted = to
	g.rendered(s.Fingerprint, result.Raised)
	// A Secret that is wrong shows nowhere else: the server goes on with the keys of before.
	if notes := strings.Join(result.Notes, "; "); notes != l.noted {
		l.noted = notes
		if notes != "" {
			g.log.Warn("configuration is not all as asked for", "reason", notes)
		}
	}
	if len(result.Changed) > 0 || result.KeysChanged {
		l.reload = true
		g.log.Info("configuration changed", "files", result.Changed, "keys", result.KeysChanged, "seq", to.Seq)
	}
	if !slices.Equal(result.CommandLine, l.commands) {
		g.log.Info("settings have changed that take effect at the next start of the server")
	}
}

// reload makes the server read what was derived. A postmaster that has just been started would die of the signal.
func (g *Guard) reload(l *life) {
	if !l.reload || !l.up || l.server.Ended() {
		return
	}
	if err := l.server.Reload(); err != nil {
		g.warn("reload server", err)
		return
	}
	l.reload = false
}

// stop begins a fast shutdown. What comes before it in the order of steps: a hand-over to another member, which is keeper's work and has
// the first 40 % of the grace period; a replica needs none. What comes after: the kill at the end of the time, and the proof.
func (g *Guard) stop(l *life, reason string) {
	l.stopping, l.why = true, reason
	l.killAt = boottime.Now().Add(g.config.StopTimeout - lastResort)
	g.log.Info("server is shut down", "as", string(l.kind), "reason", reason)
	if err := l.server.FastShutdown(); err != nil {
		g.warn("shut server down", err)
		l.killAt = boottime.Now()
	}
}
