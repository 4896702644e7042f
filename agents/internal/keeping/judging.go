package keeping

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lease"
)

// orderTime bounds a change of the record: a look, a write and a look again.
const orderTime = 4 * time.Second

// judgeOnce looks, judges and acts. A verdict that changes the record is followed by another at once: the grant rests on what the store
// has answered, never on what was asked.
func (k *Keeper) judgeOnce(ctx context.Context) error {
	k.readState()
	for range 3 {
		v := judge.Judge(k.facts())
		k.say(v)
		if !v.Keep {
			var vote epoch.Version
			if s := k.look().state; s != nil {
				vote = s.Vote
			}
			if err := k.issuer.issue(v.Grant, k.me(), v.Fence, vote, k.view); err != nil {
				return err
			}
		}
		if v.End {
			return k.end(ctx, v)
		}
		if v.Do == judge.Nothing {
			return nil
		}
		if err := k.do(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) do(ctx context.Context, v judge.Verdict) error {
	l := k.loop.Load()
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	var err error
	switch v.Do {
	case judge.Create:
		v.Record.Reign = rand.Text()[:16]
		err = l.Create(ctx, v.Record)
	case judge.Take:
		v.Record.Reign = rand.Text()[:16]
		began := boottime.Now()
		so, seen := k.begins(v.Record.Epoch), k.view().FreeFor(began)
		v.Record.Transition = &so
		if err = l.Take(ctx, v.Version, v.Record); err == nil {
			k.tookOver(v.Record.Reign, so, seen, began)
		}
	case judge.Release:
		return k.handedOver(ctx, v)
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s the record: %w", v.Do, err)
	}
	k.log.Info("record taken", "how", v.Do.String(), "epoch", v.Record.Epoch.String(), "timeline", v.Record.Timeline, "reason", v.Reason)
	return nil
}

// say logs a verdict's sentence when it differs from the last one, and tells people when they are needed.
func (k *Keeper) say(v judge.Verdict) {
	var last judge.Verdict
	k.change(func(n *known) { last, n.verdict = n.verdict, v })
	if last.Reason == v.Reason && last.Person == v.Person {
		return
	}
	if v.Person {
		k.log.Error("a person is needed", "reason", v.Reason)
		k.events.Tell(true, "PersonNeeded", v.Reason)
		return
	}
	k.log.Info("judged", "role", v.Grant.Role, "keep", v.Keep, "do", v.Do.String(), "reason", v.Reason)
}

// facts gathers what the judge rests on.
func (k *Keeper) facts() judge.Facts {
	n, v, now := k.look(), k.view(), boottime.Now()
	f := judge.Facts{
		Me: k.me(), Pod: k.o.Pod, Host: k.host(k.o.Pod), IP: k.o.PodIP, Port: k.settings.Port, BornPrimary: k.o.BornPrimary, Adopt: n.adopt,
		Lease: k.settings.Release, Namespace: k.o.Namespace, Draining: k.draining.Load(), Others: n.others,
	}
	answered := v.Answered
	if answered == 0 {
		answered = k.started
	}
	f.Store = judge.Store{
		Known: knownOf(v.Known), Record: v.Record, Version: v.Version, Problem: v.Problem, Silent: now.Sub(answered),
		Mine: v.Mine, InForce: v.InForce(now), Expired: v.Expired(now) && !boundByAnotherLife(v, k.me(), since(n.volumeSince, now)),
		Seen: v.Seen, Vacant: v.Vacant(now), AbsentWait: v.AbsentWait, FreeFor: v.FreeFor(now), Unchanged: v.Unchanged(now), Lifted: n.lifted, Unfenced: n.unfenced,
	}
	if votes := n.state != nil && free(v, now) && n.state.Vote == v.Record.Version() && !n.standsStale() && f.Store.Silent < recordAge; !votes {
		k.votingSince = 0
	} else if k.votingSince == 0 {
		k.votingSince = now
	}
	f.Full = n.full()
	limits := k.settings.Failover
	f.Election = judge.Election{For: since(k.votingSince, now), Wait: limits.Wait(), MaxLag: limits.MaxLag(), MaxDiscard: limits.MaxDiscard(), Peers: n.heard}
	f.Local.Standing, f.Local.Replayed, f.Care = k.standing(), n.replayed(now), n.care
	if n.handover != nil {
		h := *n.handover
		h.For, f.Handover = now.Sub(n.handoverSince), &h
	}
	if l := k.loop.Load(); l != nil {
		f.Promised = l.Promised(now)
	}
	if f.Synchronous = n.mode.On(); v.Mine {
		f.Sync = grantOf(k.waitsFor(n, v))
	}
	f.Local.Previous, f.Local.PreviousInForce = k.issuer.previous(), k.issuer.inForce()
	f.Local.Restart = k.restart(n, v, now)
	if since(n.strangerSince, now) >= strange && n.freshStatus(now) != nil {
		f.Local.Stranger = n.stranger
	}
	if n.mute.since != 0 && n.freshStatus(now) != nil {
		f.Local.Mute, f.Local.Refusal, f.Local.Unasked = now.Sub(n.mute.since), n.mute.refusal, n.mute.problem
	}
	if n.state != nil {
		f.Local.State, f.Local.Stale = n.state, now.Sub(n.state.Beat) > stateAge
		f.Local.RefusedFor = since(n.refusedSince, now)
		if n.standbySince != 0 {
			f.Local.StandbyFor = now.Sub(n.standbySince)
		}
	}
	return f
}

// since is how long ago an instant was; 0 if there is none.
func since(at, now boottime.Instant) time.Duration {
	if at == 0 {
		return 0
	}
	return now.Sub(at)
}

// judgeEvery: twice a second, and at the moment when the record may become free.
func (k *Keeper) judgeEvery() time.Duration {
	v, now := k.view(), boottime.Now()
	if v.Known != lease.Present || v.Mine || free(v, now) {
		return 500 * time.Millisecond
	}
	return untilExpiry(v, now)
}

func knownOf(k lease.Known) judge.Known {
	switch k {
	case lease.Absent:
		return judge.Absent
	case lease.Present:
		return judge.Present
	case lease.Broken:
		return judge.Broken
	default:
		return judge.Unreachable
	}
}

// readState takes in what seed or guard has reported. A state that cannot be read leaves the last one, which grows stale.
func (k *Keeper) readState() {
	s, err := grant.ReadState(k.o.Control)
	if err != nil {
		if !errors.Is(err, grant.ErrNone) {
			k.log.Debug("state not readable", "error", err)
		}
		return
	}
	if s.Pod != k.o.PodUID || s.Format > grant.Format {
		return // another pod's, or in words that this release does not know
	}
	changed := false
	k.change(func(n *known) {
		switch {
		case s.Server != grant.Standby:
			n.standbySince = 0
		case n.standbySince == 0 || n.state == nil || n.state.LastPID != s.LastPID:
			n.standbySince = boottime.Now()
		}
		switch {
		case s.Phase == grant.Locking:
			n.volumeSince = 0
		case n.volumeSince == 0:
			n.volumeSince = boottime.Now()
		}
		switch {
		case s.Phase != grant.Refused:
			n.refusedSince = 0
		case n.refusedSince == 0:
			n.refusedSince = boottime.Now()
		}
		if s.Server == grant.Down {
			n.covered = life{} // the next server may get the same process id, and what it begins with is another matter (SAFETY D14)
		}
		changed = n.state == nil || n.state.Phase != s.Phase || n.state.Server != s.Server || n.state.Ending != s.Ending || n.state.Vote != s.Vote
		n.state = &s
	})
	if changed {
		k.log.Info("server's state", "phase", s.Phase, "server", s.Server, "reason", s.Reason, "seq", s.Seq)
		k.observeWake.up()
		k.publishWake.up()
		k.handWake.up()
		k.careWake.up()
	}
}

// watchControl wakes the judge when seed or guard has written. The watch is a hint; the judge looks by itself twice a second.
func (k *Keeper) watchControl(ctx context.Context) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer w.Close()
		err = w.Add(k.o.Control)
	}
	if err != nil {
		k.log.Warn("control directory not watched, only polled", "error", err)
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if filepath.Base(e.Name) == "state" && e.Has(fsnotify.Create) { // a rename into place
				k.judgeWake.up()
			}
		case _, ok := <-w.Errors:
			if !ok {
				return
			}
		}
	}
}
