package seeding

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pgspan/pgspan/agents/internal/basebackup"
	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/initdb"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/plan"
)

// Steps in their order. Whatever kills the process, also between the lines of one, the next run ends right; a test kills it after each.
const (
	StepLocked    = "locked"    // the volume is ours
	StepJournaled = "journaled" // the journal says what has begun
	StepCleared   = "cleared"   // remains of an earlier try are gone
	StepCopying   = "copying"   // the first part of a clone has arrived
	StepMade      = "made"      // pgdata.new is whole, and on disk: both programs sync every file of what they make
	StepChecked   = "checked"   // it is the database that was meant
	StepComplete  = "complete"  // the journal says so
	StepGaveWay   = "gave way"  // what is replaced has become pgdata.old
	StepSwapped   = "swapped"   // the journal says that pgdata.new has become pgdata
	StepPlaced    = "placed"    // pgdata.new has become pgdata, and pgdata.old is gone
	StepNoted     = "noted"     // the volume notes what it is
	StepClosed    = "closed"    // the journal is closed
	StepKept      = "kept"      // what the server start needs is noted
)

// InitSteps and CloneSteps are the steps of either way to fill a volume.
func InitSteps() []string {
	return []string{StepLocked, StepJournaled, StepCleared, StepMade, StepChecked, StepComplete, StepPlaced, StepNoted, StepClosed, StepKept}
}

// CloneSteps are the steps of a clone.
func CloneSteps() []string {
	return []string{StepLocked, StepJournaled, StepCleared, StepCopying, StepMade, StepChecked, StepComplete, StepPlaced, StepNoted, StepClosed, StepKept}
}

// fill makes pgdata, or finishes what was interrupted. It gives up when the grant is withdrawn meanwhile.
func (s *seeder) fill(ctx context.Context, t task) error {
	g := *t.facts.Grant
	if t.plan.Resume {
		return s.place(*t.facts.Journal)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go s.revoke(ctx, g, cancel)

	entry := notes.Entry{
		Step: notes.StepInit, Stage: notes.Began, Cause: t.plan.Reason, Since: time.Now().UTC(),
		Member: g.Holder.Member, Epoch: g.Epoch, Reign: g.Reign, Timeline: g.Timeline,
	}
	if t.plan.Do == plan.Clone {
		entry.Step, entry.From = notes.StepClone, g.Upstream.Name
		entry.Replaces = replaced(t)
	}
	if err := notes.WriteJournal(s.paths, entry); err != nil {
		return err
	}
	s.step(StepJournaled)
	if err := s.remember(entry, entry.Step+" begun", nil); err != nil {
		return err
	}
	if err := os.RemoveAll(s.paths.NewData()); err != nil {
		return fmt.Errorf("clear what an earlier try left: %w", err)
	}
	s.step(StepCleared)
	if err := s.make(ctx, t, &entry); err != nil {
		return errors.Join(err, revoked(ctx))
	}
	s.step(StepMade)
	if err := s.check(ctx, t, &entry); err != nil {
		return err
	}
	s.step(StepChecked)
	entry.Stage = notes.Complete
	if err := notes.WriteJournal(s.paths, entry); err != nil {
		return err
	}
	s.step(StepComplete)
	return s.place(entry)
}

// replaced says what the clone takes the place of.
func replaced(t task) string {
	switch was := t.facts.Journal; {
	case was == nil:
		return ""
	case was.Replaces != "" || was.Step != notes.StepRewind || !t.plan.Replace:
		return was.Replaces // pgdata.old of it may still be there
	default:
		return was.String()
	}
}

// make fills pgdata.new.
func (s *seeder) make(ctx context.Context, t task, entry *notes.Entry) error {
	if t.plan.Do == plan.Init {
		made, err := initdb.Run(ctx, s.tools, s.paths.NewData(), t.facts.Settings.PostgreSQL.Initdb, s.lock.File())
		entry.Initdb = &made
		return err
	}
	g := t.facts.Grant
	name := g.SyncName
	if name == "" {
		name = g.Holder.Member
	}
	return basebackup.Run(ctx, basebackup.Options{
		Tools: s.tools, Target: s.paths.NewData(), From: *g.Upstream, Keys: s.Pod.Keys, Name: basebackup.Name(name),
		MaxRate: int64(s.Pod.CloneMaxRate), Stall: s.Pod.CloneStall, Lock: s.lock.File(), Progress: s.progress(), Log: s.Log,
	})
}

// logEvery is how often a long copy is mentioned in the log. The state has it each second.
const logEvery = 5 * time.Second

// progress returns what puts a clone's progress into the state and the log.
func (s *seeder) progress() func(grant.Progress) {
	var logged time.Time
	var step string
	return func(p grant.Progress) {
		s.Report.Update(func(st *grant.State) { st.Done = &p })
		if p.Step != step || time.Since(logged) >= logEvery {
			logged, step = time.Now(), p.Step
			s.Log.Info("clone", "step", p.Step, "bytes", p.Bytes, "total", p.Total, "bytesPerSecond", int64(p.PerSecond), "secondsLeft", int64(p.SecondsETA))
		}
		if p.Bytes > 0 && !s.told[StepCopying] {
			s.told[StepCopying] = true
			s.step(StepCopying)
		}
	}
}

// check makes sure that pgdata.new holds what was meant, before anything takes it for data. It would be judged again before a start,
// but then the clone of a wrong database would lie in the place of the right one.
func (s *seeder) check(ctx context.Context, t task, entry *notes.Entry) error {
	found, err := pgdata.Inspect(ctx, s.tools, s.paths.NewData())
	if err != nil {
		return err
	}
	if found.Control == nil {
		return fmt.Errorf("%s made no usable data directory: %s", entry.Step, found.ControlProblem)
	}
	if len(found.Outside) > 0 {
		return fmt.Errorf("%s has tablespaces outside the data directory (%s at %s): move them into it first", entry.From, found.Outside[0].Name, found.Outside[0].Target)
	}
	if want := t.facts.Grant.SystemID; want != "" && want != found.Control.SystemID {
		return fmt.Errorf("%s holds the foreign database %s, this one is %s", entry.From, found.Control.SystemID, want)
	}
	entry.SystemID = found.Control.SystemID
	// Whoever starts this directory without a thought gets a standby and not a second primary.
	return pgdata.SetStandby(s.paths.NewData(), t.plan.Do == plan.Clone)
}

// place is the rest of a complete step: it can be run again from any point.
func (s *seeder) place(entry notes.Entry) error {
	if err := s.swap(&entry); err != nil {
		return fmt.Errorf("put the data directory in place: %w", err)
	}
	s.step(StepPlaced)
	_, err := notes.Update(s.paths, func(m *notes.Member) {
		m.Member, m.SystemID, m.Major, m.Libraries, m.Initdb = entry.Member, entry.SystemID, s.tools.Major, s.tools.Libraries, entry.Initdb
		m.See(entry.Epoch)
		// initdb makes timeline 1. Where the record has reserved another one, the database becomes primary by a promotion.
		if entry.Step == notes.StepInit && entry.Timeline == 1 {
			m.Reign(entry.Epoch, entry.Reign, entry.Timeline)
		}
	})
	if err != nil {
		return err
	}
	s.step(StepNoted)
	if err := s.remember(entry, entry.Step+" done", map[string]string{"systemID": entry.SystemID}); err != nil {
		return err
	}
	if err := notes.CloseJournal(s.paths); err != nil {
		return err
	}
	s.step(StepClosed)
	s.Report.Update(func(st *grant.State) { st.Done = nil })
	return nil
}

// swap makes pgdata.new the data directory. What it replaces, if anything, gives way and is removed when that is done.
func (s *seeder) swap(entry *notes.Entry) error {
	_, err := os.Lstat(s.paths.NewData())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && entry.Stage == notes.Complete {
		if err := s.giveWay(*entry); err != nil {
			return err
		}
		if err := durable.Rename(s.paths.NewData(), s.paths.Data()); err != nil {
			return err
		}
	}
	if entry.Replaces == "" {
		return nil
	}
	if entry.Stage == notes.Complete {
		entry.Stage = notes.Placed
		if err := notes.WriteJournal(s.paths, *entry); err != nil {
			return err
		}
	}
	s.step(StepSwapped)
	return os.RemoveAll(s.paths.OldData())
}

// giveWay clears the place of the data directory. If nothing is to be replaced, only an empty directory can be there, which some storage
// comes with, and nothing else is removed.
func (s *seeder) giveWay(entry notes.Entry) error {
	if entry.Replaces == "" {
		if err := os.Remove(s.paths.Data()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if _, err := os.Lstat(s.paths.Data()); errors.Is(err, fs.ErrNotExist) {
		return nil // it has given way already
	} else if err != nil {
		return err
	}
	// What an earlier replacement has left, if it was killed after its clone had been lost.
	if err := os.RemoveAll(s.paths.OldData()); err != nil {
		return err
	}
	if err := durable.Rename(s.paths.Data(), s.paths.OldData()); err != nil {
		return err
	}
	s.step(StepGaveWay)
	return nil
}

// remember adds a line to the volume's history.
func (s *seeder) remember(entry notes.Entry, what string, detail map[string]string) error {
	if entry.From != "" {
		if detail == nil {
			detail = map[string]string{}
		}
		detail["from"] = entry.From
	}
	return notes.AddHistory(s.paths, notes.Event{Time: time.Now(), What: what, Reason: entry.Cause, Pod: s.Pod.PodName, Epoch: entry.Epoch, Detail: detail})
}

var errRevoked = errors.New("the grant has changed")

// revoke ends a step whose grant is no longer what it began under. That the grant cannot be read says nothing.
func (s *seeder) revoke(ctx context.Context, began grant.Grant, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now, err := readGrant(s.Pod.Control); err == nil && now != nil && !sameOrder(&began, now) {
			cancel(errRevoked)
			return
		}
	}
}

// revoked adds the cause to the error of a program that was killed for it.
func revoked(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errRevoked) {
		return errRevoked
	}
	return nil
}

// sameOrder reports whether two grants tell an empty volume to become the same thing. Whether it may clone is not compared: keeper need
// not repeat the permission while the clone runs.
func sameOrder(a, b *grant.Grant) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Holder != b.Holder || a.Role != b.Role || a.SystemID != "" && b.SystemID != "" && a.SystemID != b.SystemID {
		return false
	}
	if a.Role != grant.Replica {
		return true
	}
	return a.Upstream != nil && b.Upstream != nil && *a.Upstream == *b.Upstream
}

// signal writes standby.signal, unless this is a primary's restart (SAFETY rule 15), and reports whether it did. It comes before the note
// that says so: a note without the file would tell of a promotion that nobody ordered.
func (s *seeder) signal(r *Ready) (bool, error) {
	writable, _ := plan.Writable(r.Grant, r.Me, boottime.Now(), r.Note, r.Data)
	if writable && !r.Data.StandbySignal {
		return false, nil
	}
	if err := pgdata.SetStandby(s.paths.Data(), true); err != nil {
		return false, err
	}
	r.Data.StandbySignal = true
	return true, nil
}

// keep writes down what the next start will be judged by, and removes settings that would win over ours.
func (s *seeder) keep(r *Ready) error {
	if err := s.cleanAuto(r); err != nil {
		return err
	}
	standby, err := s.signal(r)
	if err != nil {
		return err
	}
	if err := s.closeRewind(r); err != nil {
		return err
	}
	was := r.Note
	note, err := notes.Update(s.paths, func(m *notes.Member) {
		if r.Grant.Holder.Member != "" {
			m.Member = r.Grant.Holder.Member
		}
		m.SystemID, m.Major, m.Libraries = r.Data.Control.SystemID, r.Tools.Major, r.Tools.Libraries
		m.See(r.Grant.Epoch)
		if standby {
			m.Started = notes.AsStandby
		}
	})
	if err != nil {
		return err
	}
	if was.Libraries != (notes.Libraries{}) && was.Libraries != note.Libraries {
		if err := notes.AddHistory(s.paths, notes.Event{
			Time: time.Now(), What: "libraries changed", Pod: s.Pod.PodName, Epoch: r.Grant.Epoch,
			Detail: map[string]string{"was": fmt.Sprint(was.Libraries), "is": fmt.Sprint(note.Libraries)},
		}); err != nil {
			return err
		}
	}
	r.Note = note
	s.step(StepKept)
	s.Log.Info("plan", "do", string(plan.Keep), "reason", r.Plan.Reason, "seq", r.Grant.Seq)
	return nil
}
