package keeping

import (
	"context"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/controlfile"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/walend"
)

const (
	careEvery = time.Second
	// unfitFor is how long a member that gave the right up leaves it to others. A new process of its keeper knows nothing of it.
	unfitFor = 10 * time.Minute
	// assumedRedo is how much WAL a server goes through in a second when none of this process's life has shown it; a recovery of measuredRedo bytes does.
	assumedRedo  = 64 << 20
	measuredRedo = 64 << 20
	// volumeTime bounds what is read from a volume that may hang.
	volumeTime = 2 * time.Second
)

// unfit is why and until when a member leaves the right to write to others.
type unfit struct {
	until boottime.Instant
	why   string
}

// meter adds up how long something has been so. A keeper that was frozen, or starved, has seen nothing meanwhile: each look counts for a little
// more than the time between two of them at most.
type meter struct {
	last  boottime.Instant
	total time.Duration
}

func (m *meter) add(now boottime.Instant, so bool) time.Duration {
	if !so {
		*m = meter{}
		return 0
	}
	if m.last != 0 {
		m.total += min(now.Sub(m.last), 2*careEvery)
	}
	m.last = now
	return m.total
}

// patient is what one reign's server has shown. It is used by the caring loop alone.
type patient struct {
	reign                      string
	idle, mute, stuck, unheard meter
	wrote                      bool
	signs                      boottime.Instant // of life, when they were last looked at
	flushedAt                  boottime.Instant
	since                      boottime.Instant // of the guard's write that is not finished
	down                       boottime.Instant // when the server was first seen not to write, after it had
	redo                       *int64
	end                        lsn.LSN
}

// caring looks, on the leader, after a server that is not well.
func (k *Keeper) caring() func(context.Context) error {
	var p patient
	rate := float64(assumedRedo)
	said := ""
	return func(ctx context.Context) error {
		n, v, now := k.look(), k.view(), boottime.Now()
		if !k.attends(n, v, now) {
			p = patient{}
			k.change(func(n *known) { n.care = judge.Treatment{} })
			return nil
		}
		if p.reign != v.Record.Reign {
			// A promotion that crashes is tried again in another reign of this member's: what counts is how long it has led without writing.
			p = patient{reign: v.Record.Reign, signs: now, idle: p.idle}
		}
		c := k.condition(&p, n, v, now)
		if measured, ok := p.recovered(c.Writes, now); ok {
			rate = measured
			k.log.Info("crash recovery measured", "bytes_per_second", int64(rate))
		}
		if c.Rate = rate; !c.Writes {
			k.expect(&p, n, v)
			c.Redo, c.End = p.redo, p.end
		}
		if !c.Writes || c.Full != "" || c.Mute >= c.Limits.Hang || c.Stuck >= c.Limits.Hang {
			c.Reliefs = reliefs(v.Record, k.me().Member, k.peers.Ask(ctx, v.Record.Members, k.me().Member, askLimit))
		}
		t := judge.Care(c)
		if t.Reason != said {
			said = t.Reason
			k.log.Info("server looked after", "gives_up", t.GiveUp, "kills", t.Kill, "reason", t.Reason)
		}
		if !t.GiveUp {
			k.change(func(n *known) { n.care = t })
			return nil
		}
		if n, v := k.look(), k.view(); !k.attends(n, v, boottime.Now()) || v.Record.Reign != p.reign || !t.Kill && c.Full == "" && writes(n.state) {
			return nil // the members were asked meanwhile, and the server has come back or the right has ended
		}
		k.events.Tell(true, "LeaderGivesUp", t.Reason)
		k.change(func(n *known) {
			n.handsOver(judge.Handover{Heir: t.Heir, Reason: t.Reason, Unclean: true, Kill: t.Kill}, v.Record.Epoch, handoverLimit, now, now)
			n.care = judge.Treatment{}
			n.unfit = unfit{until: now.Add(unfitFor), why: "it gave the right up: " + t.Cause}
		})
		k.judgeWake.up()
		return nil
	}
}

// attends reports whether this member leads a database that exists, and nothing else is under way.
func (k *Keeper) attends(n known, v lease.View, now boottime.Instant) bool {
	return v.InForce(now) && v.Confirmed() && n.handover == nil && n.state != nil && !n.state.Ending && !k.draining.Load() &&
		v.Record.SystemID != "" && v.Record.Bootstrap == nil
}

// condition gathers what can be said without asking anybody.
func (k *Keeper) condition(p *patient, n known, v lease.View, now boottime.Instant) judge.Condition {
	s, limits := n.state, k.settings.Failover
	c := judge.Condition{
		Pod: k.o.Pod, Member: k.me().Member, Leads: true, Heard: !n.standsStale(), Record: v.Record,
		Stored: v.Trouble == "" && !v.Failsafe, Writes: writes(s), Full: n.full(),
		PauseLeft: judge.PauseLeft(v.Record, v.Unchanged(now), n.lifted),
		Limits:    judge.Limits{Promote: limits.Promote(), Recovery: limits.Recovery(), Hang: limits.Hang(), MaxLag: limits.MaxLag()},
	}
	known := s.Volume != nil && s.Volume.WasPrimary == v.Record.Epoch && s.Volume.PrimaryReign == v.Record.Reign
	p.wrote = p.wrote || c.Writes || known
	c.Wrote, c.Unwritable = p.wrote, p.idle.add(now, !c.Writes && c.Heard && c.Full == "")

	c.Unheard = p.unheard.add(now, !c.Heard)

	// A server that has never answered this process may be well: what the questions need may be locked since before.
	signs := max(n.pulseAt, n.filesAt)
	c.Mute = p.mute.add(now, c.Writes && n.pulseAt != 0 && signs <= p.signs)
	p.signs = max(p.signs, signs)

	waits := c.Heard && s.Disk != nil && s.Disk.Since != 0 && s.Disk.Since == p.since && n.flushedAt <= p.flushedAt
	c.Stuck = p.stuck.add(now, waits)
	if p.flushedAt = n.flushedAt; s.Disk != nil {
		p.since = s.Disk.Since
	}
	return c
}

// writes reports whether guard says that a server accepts connections as a primary.
func writes(s *grant.State) bool { return s.Server == grant.Writable && s.Phase == grant.Running }

// recovered tells how quickly a crash recovery that is over went, if it was long enough to show that.
func (p *patient) recovered(writes bool, now boottime.Instant) (bytesPerSecond float64, ok bool) {
	if !writes {
		if p.down == 0 {
			p.down = now
		}
		return 0, false
	}
	if p.redo != nil && *p.redo >= measuredRedo && p.down != 0 {
		bytesPerSecond, ok = float64(*p.redo)/max(now.Sub(p.down).Seconds(), 0.1), true
	}
	p.down, p.redo, p.end = 0, nil, 0
	return bytesPerSecond, ok
}

// expect finds out, once for each crash, how much WAL the server has to go through, and where that ends.
func (k *Keeper) expect(p *patient, n known, v lease.View) {
	// While processes of a server that is going are left, they may still commit. One that guard has started again, often sooner than this loop
	// looks, has not come to that yet.
	if s := n.state; p.redo != nil || s.Phase == grant.Stopping || s.Server == grant.Writable && s.Phase != grant.Starting {
		return
	}
	line, from := v.Record.Timeline, opening(v.Record)
	if line != v.Record.Opened { // it has not begun: what there is belongs to another one
		if from = 0; n.state.Volume == nil {
			return
		}
		line = n.state.Volume.Timeline
	}
	type found struct {
		redo, end lsn.LSN
		err       error
	}
	done := make(chan found, 1)
	go func() { // a volume that hangs keeps nobody but this goroutine
		data := layout.In(k.o.Volume).Data()
		c, err := controlfile.Read(data)
		f := found{redo: c.Redo, err: err}
		if f.end = f.redo; err == nil && c.State != controlfile.ShutDown {
			f.end, f.err = walend.Find(data, line, max(c.Redo, from))
		}
		done <- f
	}()
	select {
	case f := <-done:
		if f.err != nil {
			k.log.Warn("how much WAL is to be gone through is not known", "error", f.err)
			return
		}
		redo := f.end.Sub(f.redo)
		p.redo, p.end = &redo, f.end
		k.log.Info("the server is to be started again", "redo", f.redo.String(), "end", f.end.String(), "bytes", redo)
	case <-time.After(volumeTime):
		k.log.Warn("how much WAL is to be gone through is not known", "error", "the volume does not answer")
	}
}

// opening is where the record's timeline began: before that there is none of its WAL.
func opening(r record.Record) (at lsn.LSN) {
	if r.Opened == r.Timeline {
		for _, l := range r.Lines {
			at = max(at, l.End)
		}
	}
	return at
}

// reliefs are the other listed members, as they say they are.
func reliefs(r record.Record, me string, answers map[string]peers.Answer) []judge.Relief {
	var out []judge.Relief
	for _, m := range r.Members {
		if m.ID == me {
			continue
		}
		a, asked := answers[m.ID]
		s := a.Standing
		next := judge.Relief{Member: m.ID, Pod: m.Pod, Heard: asked && a.Err == nil, Reached: s.Reached, Priority: s.Priority}
		_, fenced := r.FencedMember(m.ID)
		switch {
		case fenced:
			next.Problem = "it is fenced by hand"
		case !next.Heard:
			next.Problem = "it is not heard"
		case !s.MayWin:
			next.Problem = fmt.Sprintf("it may not lead: %s", s.Problem)
		case s.Reached == 0:
			next.Problem = "how far it has come is not known"
		case !s.DiskWell:
			next.Problem = "its volume is not known to be well"
		}
		out = append(out, next)
	}
	return out
}
