package keeping

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
)

const (
	// apart is the least time between the two looks that must agree before a position is the end of WAL. The reload that ends the stream has
	// reached the startup process by the second one.
	apart = 50 * time.Millisecond
	// rescan is after how long without a receiver the server has certainly looked through its own disk again. What was received may end in
	// the middle of a record, and is never replayed then.
	rescan = time.Second
	// obedience is how long a reader that was cancelled may take to let go.
	obedience = 300 * time.Millisecond
)

// position is the end of valid local WAL, as far as the server has shown it (SAFETY rule 9).
type position struct {
	known   bool
	line    uint32
	at      lsn.LSN
	problem string
	pid     int           // of the postmaster that said so
	version epoch.Version // of the record for which it was asked: before the next vote this member may stream again
}

// of returns the position if the server said it in its present life, and for this very vote.
func (p position) of(s *grant.State) (position, bool) {
	switch {
	case p.pid != s.LastPID || p.version != s.Vote || s.Vote.IsZero():
		return position{problem: "it was not asked for since the last vote"}, false
	default:
		return p, p.known
	}
}

// prober finds the position from answers over time. It is used by the observing loop alone.
type prober struct {
	vote  epoch.Version
	since boottime.Instant // the first of the unbroken row of answers that agree
	at    lsn.LSN
	pid   int
	// heldUp is since when readers have held up replay in this vote.
	heldUp boottime.Instant
}

// readers says what to do about readers that hold up replay: nothing, cancel, or end their sessions if that was of no use.
func (p *prober) readers(now boottime.Instant, a pg.Position) (tell, sessions bool) {
	if !a.Conflict {
		p.heldUp = 0
		return false, false
	}
	if p.heldUp == 0 {
		p.heldUp = now
	}
	return true, now.Sub(p.heldUp) >= obedience
}

// add judges one more answer. An answer that does not fit begins anew.
func (p *prober) add(now boottime.Instant, pid int, a pg.Position) (known bool, problem string) {
	switch {
	case !a.InRecovery:
		problem = "the server is no standby"
	case a.Upstream:
		problem = "the server still has an upstream"
	case a.Receivers > 0:
		problem = "the server still receives WAL"
	case a.Paused:
		problem = "replay is paused: SELECT pg_wal_replay_resume()"
	case a.Replayed == nil:
		problem = "nothing was replayed yet"
	case a.Conflict:
		problem = "a reader's transaction holds up replay: it is ended"
	case !a.Waiting:
		problem = "WAL on the disk is still being replayed"
	}
	if problem != "" {
		p.since = 0
		return false, problem
	}
	if p.since == 0 || p.at != *a.Replayed || p.pid != pid {
		p.since, p.at, p.pid = now, *a.Replayed, pid
		return false, "the position is being confirmed"
	}
	agreed := now.Sub(p.since)
	if a.Received != nil && *a.Replayed < *a.Received && agreed < rescan {
		return false, "what was received last is still being looked at"
	}
	if agreed < apart {
		return false, "the position is being confirmed"
	}
	return true, ""
}

// probe asks for the position while this member votes.
func (k *Keeper) probe(ctx context.Context, o *pg.Observer, p *prober) error {
	n := k.look()
	if n.state != nil && n.state.Vote != p.vote {
		p.vote, p.since, p.heldUp = n.state.Vote, 0, 0
	}
	if n.state == nil || n.state.Vote.IsZero() || n.state.Vote != k.view().Record.Version() {
		p.since = 0
		k.change(func(n *known) { n.position = position{problem: "the stream is being cut"} })
		return nil
	}
	a, err := o.Position(ctx)
	if err != nil {
		p.since = 0
		k.change(func(n *known) { n.position = position{problem: err.Error()} })
		return err
	}
	if tell, sessions := p.readers(boottime.Now(), a); tell {
		told, err := o.EndReaders(ctx, sessions)
		if err != nil {
			return err
		}
		k.log.Warn("readers hold up replay, and the election waits for it", "told", told, "sessions_end", sessions)
	}
	at := position{pid: n.state.LastPID, version: n.state.Vote}
	if at.known, at.problem = p.add(boottime.Now(), n.state.LastPID, a); at.known {
		at.at = p.at
		if at.line, err = pgdata.LineAt(layout.In(k.o.Volume).Data(), p.at, a.SegmentSize); err != nil {
			at.known, at.problem = false, err.Error()
		}
	}
	k.change(func(n *known) { n.position = at })
	if at.known {
		k.judgeWake.up()
	}
	return nil
}

// standing is how this member stands to an election, from what is known now.
func (k *Keeper) standing() judge.Standing {
	n := k.look()
	s := judge.Standing{Member: n.member, Pod: k.o.Pod, SystemID: k.systemID(n), Barred: k.barred(n), Priority: k.settings.Failover.Priority[k.bornAs()]}
	if now := boottime.Now(); now.Before(n.unfit.until) {
		s.Unfit = n.unfit.why
	}
	if st := n.freshStatus(boottime.Now()); st != nil {
		s.Timeline = st.Timeline
	}
	if n.state == nil || n.standsStale() || n.state.Server != grant.Standby {
		s.Problem = "no standby runs"
		return s
	}
	s.Version = n.state.Vote
	at, known := n.position.of(n.state)
	if s.Known, s.Problem = known, at.problem; known {
		s.Timeline, s.Position = at.line, at.at
	}
	return s
}

// barred says why this member must not win, although it counts as heard.
func (k *Keeper) barred(n known) string {
	switch {
	case k.settings.Failover.NeverLead[k.bornAs()]:
		return "this member never leads (failover.neverLead)"
	case k.draining.Load() || n.state != nil && n.state.Ending:
		return "its pod ends"
	case k.fencedByHand(n):
		return "it is fenced by hand"
	case n.free != nil && *n.free < roomToLead(n.segment()):
		return "its volume is full"
	}
	return ""
}

// fencedByHand: a person keeps this member stopped.
func (k *Keeper) fencedByHand(n known) bool {
	word, fenced := k.view().Record.FencedMember(n.member)
	return fenced && word.Name() != n.unfenced
}

// Standing is the answer to a peer that asks.
func (k *Keeper) Standing() peers.Standing {
	n, s, now := k.look(), k.standing(), boottime.Now()
	out := peers.Standing{
		Format: peers.Format, Me: k.me(), Pod: k.o.Pod, SystemID: s.SystemID, Version: s.Version, Known: s.Known, Problem: s.Problem,
		Unfenced: n.unfenced, MayWin: s.Barred == "" && s.Unfit == "", DiskWell: diskWell(n, now), Reached: n.reached(), Priority: s.Priority,
		Epoch: k.view().Record.Epoch,
	}
	if s.Known {
		out.Timeline, out.Position = s.Timeline, s.Position
	}
	if why := cmp.Or(s.Barred, s.Unfit); why != "" {
		out.Problem = why
	}
	if st := n.freshStatus(now); st != nil && st.Receiver.Streaming() {
		out.Streaming = true
		if st.Received != nil {
			out.Received = *st.Received
		}
	}
	return out
}

// replayed is how far the running standby is known to have come, and nil if none runs.
func (n known) replayed(now boottime.Instant) *lsn.LSN {
	s := n.freshStatus(now)
	if s == nil || !s.InRecovery || n.state == nil || n.state.Server != grant.Standby {
		return nil
	}
	return s.Replayed
}

// history reads how the timeline that the leader writes on came about.
func (k *Keeper) history(line uint32) (string, error) {
	b, err := os.ReadFile(pgdata.HistoryFile(layout.In(k.o.Volume).Data(), line))
	switch {
	case errors.Is(err, fs.ErrNotExist) && line == 1:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read the timeline's history: %w", err)
	}
	return string(b), nil
}

// bornAs names the set that this pod belongs to, as the settings do.
func (k *Keeper) bornAs() string {
	if k.o.BornPrimary {
		return "primary"
	}
	return "replica"
}
