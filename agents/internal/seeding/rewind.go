package seeding

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/plan"
	"github.com/pgspan/pgspan/agents/internal/rewind"
)

// Steps of a rewind, besides those of every plan. Before StepRewriting the data directory is what it was.
const (
	StepSettled   = "settled"   // it was brought to a clean shutdown
	StepTried     = "tried"     // the leader was checked and pg_rewind would do it
	StepRecorded  = "recorded"  // what is given up is kept, and in the history
	StepRewriting = "rewriting" // the journal says that pgdata is being changed
	StepRewinding = "rewinding" // the first part has arrived
	StepRewound   = "rewound"   // pg_rewind has ended well
	StepStandby   = "standby"   // standby.signal is there
)

// RewindSteps are the steps of a rewind that needs a clean shutdown first.
func RewindSteps() []string {
	return []string{
		StepLocked, StepJournaled, StepSettled, StepTried, StepRecorded, StepRewriting, StepRewinding, StepRewound, StepComplete, StepStandby,
		StepNoted, StepClosed, StepKept,
	}
}

// impossible reports whether err says that a rewind cannot work.
func impossible(err error) bool {
	var e *rewind.ImpossibleError
	return errors.As(err, &e)
}

// rewind brings pgdata back to the past of the leader, or a part of the way: after a settling it is judged again, because only then it is
// known for sure how much would be given up.
func (s *seeder) rewind(ctx context.Context, t task) error {
	if t.plan.Resume {
		return s.rewound(*t.facts.Journal)
	}
	entry, err := s.openRewind(t)
	if err != nil {
		return err
	}
	prepared, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go s.revoke(prepared, *t.facts.Grant, cancel)
	if t.plan.Settle != plan.SettleNone {
		return errors.Join(s.settle(prepared, t), revoked(prepared))
	}
	o := s.rewindOptions(t)
	g := t.facts.Grant
	if err := s.prepareRewind(prepared, o, t, entry); err != nil {
		return errors.Join(err, revoked(prepared))
	}
	// As late as can be: a leader that has lost its place meanwhile must not be the source.
	if err := rewind.CheckSource(prepared, o, t.facts.Data.Control.SystemID, g.Timeline); err != nil {
		return errors.Join(err, revoked(prepared))
	}
	if err := context.Cause(prepared); err != nil {
		return err
	}
	entry.Stage = notes.Rewriting
	if err := notes.WriteJournal(s.paths, entry); err != nil {
		return err
	}
	s.step(StepRewriting)
	s.wal = nil
	// From here on another grant does not stop it: half a rewind is worth nothing, and a whole one can be rewound again.
	if err := rewind.Run(ctx, o); err != nil {
		return err
	}
	s.step(StepRewound)
	entry.Stage = notes.Complete
	if err := notes.WriteJournal(s.paths, entry); err != nil {
		return err
	}
	s.step(StepComplete)
	return s.rewound(entry)
}

// openRewind opens the journal, or goes on with the entry that is open.
func (s *seeder) openRewind(t task) (notes.Entry, error) {
	g := t.facts.Grant
	entry := notes.Entry{
		Step: notes.StepRewind, Stage: notes.Began, Cause: t.plan.Reason, Since: time.Now().UTC(), From: g.Upstream.Name,
		Member: g.Holder.Member, Epoch: g.Epoch, Reign: g.Reign, Timeline: g.Timeline,
		ByHand: t.plan.ByHand,
	}
	was := t.facts.Journal
	if was != nil && was.Step == notes.StepRewind {
		entry.Since = was.Since
	}
	if err := notes.WriteJournal(s.paths, entry); err != nil {
		return notes.Entry{}, err
	}
	s.step(StepJournaled)
	if was != nil && was.Step == notes.StepRewind && was.Cause == entry.Cause {
		return entry, nil
	}
	return entry, s.remember(entry, "rewind begun", nil)
}

func (s *seeder) rewindOptions(t task) rewind.Options {
	g := t.facts.Grant
	name := g.SyncName
	if name == "" {
		name = g.Holder.Member
	}
	return rewind.Options{
		Tools: s.tools, Data: s.paths.Data(), From: *g.Upstream, Keys: s.Pod.Keys, Name: rewind.Name(name),
		Private: filepath.Join(s.Pod.Conf, "rewind"), Stall: s.Pod.CloneStall, Lock: s.lock.File(), Log: s.Log,
		Progress: func(p grant.Progress) {
			s.Report.Update(func(st *grant.State) { st.Done = &p })
			if !s.told[StepRewinding] {
				s.told[StepRewinding] = true
				s.step(StepRewinding)
			}
		},
	}
}

// settle brings the directory to a clean shutdown, with all its WAL replayed. It gives nothing up.
func (s *seeder) settle(ctx context.Context, t task) error {
	if s.settled {
		return fmt.Errorf("after its %s the data directory is still not shut down cleanly past the fork", t.plan.Settle)
	}
	s.say(grant.Seeding, t.plan.Reason+"; first comes its "+string(t.plan.Settle))
	s.wal = nil
	o := s.rewindOptions(t)
	var err error
	if t.plan.Settle == plan.SettleCrash {
		err = rewind.Recover(ctx, o, *t.facts.Data.Control)
	} else {
		err = rewind.Replay(ctx, o, *t.facts.Data.Control, *t.facts.WAL)
	}
	if err != nil {
		return err
	}
	s.settled = true
	s.step(StepSettled)
	return nil
}

// prepareRewind does everything that can be done while the directory is what it was.
func (s *seeder) prepareRewind(ctx context.Context, o rewind.Options, t task, entry notes.Entry) error {
	if err := rewind.CheckSource(ctx, o, t.facts.Data.Control.SystemID, t.facts.Grant.Timeline); err != nil {
		return err
	}
	if err := rewind.Try(ctx, o); err != nil {
		return err
	}
	s.step(StepTried)
	detail, err := s.evidence(ctx, t, entry)
	if err != nil {
		return err
	}
	if !s.told[StepRecorded] { // once, however often the leader is found to be somebody else now
		if err := s.remember(entry, "given up by rewind", detail); err != nil {
			return err
		}
		s.told[StepRecorded] = true
	}
	s.step(StepRecorded)
	return nil
}

// evidence keeps the WAL past the fork beside the data, if there is room, and says what is in it.
func (s *seeder) evidence(ctx context.Context, t task, entry notes.Entry) (map[string]string, error) {
	fork, w := t.plan.Fork, *t.facts.WAL
	parts := rewind.Beyond(w, fork.At)
	to := s.given(entry)
	detail := map[string]string{
		"fork": fork.At.String(), "timeline": fmt.Sprint(fork.Timeline), "end": w.End.String(), "bytes": strconv.FormatInt(fork.Beyond, 10), "kept": to,
		"transactions": "unknown", "relations": "unknown",
	}
	var full *rewind.NoRoomError
	switch err := rewind.Keep(ctx, s.paths.Data(), to, t.facts.Data.Control.WALSegment, parts); {
	case errors.As(err, &full):
		detail["kept"] = "no: " + full.Error()
	case err != nil:
		return nil, err
	}
	counts, err := rewind.Count(ctx, s.tools, s.paths.Data(), parts)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		s.once("what is given up is not known", err.Error())
	} else {
		detail["transactions"], detail["relations"] = strconv.Itoa(counts.Commits), relations(counts.Relations)
	}
	s.Log.Warn("given up by rewind", "reason", entry.Cause, "transactions", detail["transactions"], "kept", detail["kept"])
	return detail, nil
}

// given is where what a rewind gives up is kept.
func (s *seeder) given(entry notes.Entry) string {
	return filepath.Join(s.paths.Notes(), rewind.SetName(entry.Epoch.String(), entry.Since))
}

// mentioned is how many relations a line of the history names.
const mentioned = 20

func relations(names []string) string {
	s := strconv.Itoa(len(names))
	if len(names) == 0 {
		return s
	}
	s += ": " + strings.Join(names[:min(mentioned, len(names))], ", ")
	if len(names) > mentioned {
		s += ", …"
	}
	return s
}

// rewound is the rest of a rewind that has ended well: it can be run again from any point.
func (s *seeder) rewound(entry notes.Entry) error {
	s.wal, s.settled, s.told[StepRecorded] = nil, false, false
	aside, err := pgdata.SetAbandonedAside(s.paths.Data(), s.given(entry), entry.Timeline)
	if err != nil {
		return err
	}
	if len(aside) > 0 {
		s.Log.Info("WAL of an abandoned timeline set aside", "files", aside, "kept", s.given(entry))
	}
	// pg_rewind removes what the leader does not have, and a leader has no standby.signal.
	if err := pgdata.SetStandby(s.paths.Data(), true); err != nil {
		return err
	}
	s.step(StepStandby)
	// What it was primary in stays noted: it is the volume's past, though no longer the directory's.
	if _, err := notes.Update(s.paths, func(m *notes.Member) { m.Started = notes.AsStandby; m.See(entry.Epoch) }); err != nil {
		return err
	}
	s.step(StepNoted)
	if err := s.remember(entry, "rewind done", nil); err != nil {
		return err
	}
	if err := notes.CloseJournal(s.paths); err != nil {
		return err
	}
	s.step(StepClosed)
	s.Report.Update(func(st *grant.State) { st.Done = nil })
	return nil
}

// closeRewind closes the entry of a rewind that has not changed anything and is not wanted any more: while one is open, no server starts.
func (s *seeder) closeRewind(r *Ready) error {
	if r.journal == nil || r.journal.Step != notes.StepRewind {
		return nil
	}
	if err := s.remember(*r.journal, "rewind not needed any more", nil); err != nil {
		return err
	}
	return notes.CloseJournal(s.paths)
}
