package seeding

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/derive"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/plan"
	"github.com/pgspan/pgspan/agents/internal/settings"
	"github.com/pgspan/pgspan/tls/keypair"
)

// task is a verdict that something is to be done.
type task struct {
	plan  plan.Plan
	facts plan.Facts
}

// judge looks at everything and reports the verdict. It returns the finished volume, or what to do, or neither: wait.
func (s *seeder) judge(ctx context.Context) (*Ready, *task) {
	f, derived, err := s.look(ctx)
	if err != nil {
		s.say(phaseOf(err), sentenceOf(err))
		return nil, nil
	}
	p := plan.Judge(f)
	for _, w := range p.Warnings {
		s.once("volume", w)
	}
	for _, n := range derived.Notes {
		s.once("configuration", n)
	}
	found := found(f)
	s.Report.Update(func(st *grant.State) {
		st.Plan, st.Volume, st.Reason = string(p.Do), found, p.Sentence()
		switch p.Do {
		case plan.Keep:
			st.Phase = grant.Waiting // for the caller, which is about to start a server or to end
		case plan.Init, plan.Clone, plan.Rewind:
			st.Phase = grant.Seeding
		case plan.Refuse:
			st.Phase = grant.Refused
		case plan.Wait:
			st.Phase = grant.Waiting
		}
		if f.Grant != nil && p.Do != plan.Wait && p.Do != plan.Refuse {
			st.Seq = max(st.Seq, f.Grant.Seq)
		}
	})
	switch p.Do {
	case plan.Keep:
		return &Ready{
			Lock: s.lock, Grant: *f.Grant, Me: s.me, Settings: f.Settings, Tools: f.Tools, Data: f.Data, Note: f.Note, Derived: derived, Plan: p,
			journal: f.Journal,
		}, nil
	case plan.Init, plan.Clone, plan.Rewind:
		return nil, &task{plan: p, facts: f}
	default:
		return nil, nil
	}
}

// look gathers the facts and derives keys and configuration from them, which a clone needs and a wrong Secret shows in.
func (s *seeder) look(ctx context.Context) (plan.Facts, derive.Result, error) {
	f := plan.Facts{Me: s.me, UID: os.Geteuid()}
	var err error
	if f.Settings, err = settings.Read(s.Pod.Settings); err != nil {
		return f, derive.Result{}, err
	}
	if s.tools.Dir == "" || s.tools.Major != f.Settings.Major && f.Settings.Major != 0 {
		if s.tools, err = pgtools.Find(ctx, f.Settings.PostgreSQL.BinDir, f.Settings.Major); err != nil {
			return f, derive.Result{}, err
		}
		s.Log.Debug("programs found", "dir", s.tools.Dir, "version", s.tools.Version, "missing", strings.Join(s.tools.Missing(), ", "))
	}
	f.Tools = s.tools
	if err := s.volume(ctx, &f); err != nil {
		return f, derive.Result{}, err
	}
	if f.Grant, err = readGrant(s.Pod.Control); err != nil {
		return f, derive.Result{}, err
	}
	if f.Grant != nil {
		bound := f.Grant.Bound(f.Note.Vote)
		f.Grant = &bound
	}
	if err := s.findWAL(ctx, &f); err != nil {
		return f, derive.Result{}, err
	}
	f.Now, f.Settled = boottime.Now(), s.settled
	in := derive.Input{Settings: f.Settings, Tools: f.Tools, Control: f.Data.Control, Grant: f.Grant}
	if f.Grant != nil {
		in.Writable, _ = plan.Writable(*f.Grant, f.Me, f.Now, f.Note, f.Data)
	}
	derived, err := derive.All(ctx, s.Pod, in)
	if len(derived.CommandLine) > 0 {
		err = nil // the Secret is wrong and good keys are in place: a server that was started with them is started again
	}
	return f, derived, err
}

// volume reads what is on the volume. The mode is repaired first: it keeps nothing from being read, and nothing is decided by it.
func (s *seeder) volume(ctx context.Context, f *plan.Facts) error {
	if err := pgdata.RepairMode(s.paths.Data()); err != nil {
		f.ModeProblem = err.Error()
	}
	var err error
	if f.Data, err = pgdata.Inspect(ctx, s.tools, s.paths.Data()); err != nil {
		return err
	}
	if f.Note, f.Noted, err = notes.ReadMember(s.paths); err != nil {
		return err
	}
	if f.Journal, err = notes.ReadJournal(s.paths); err != nil {
		return err
	}
	for path, there := range map[string]*bool{s.paths.NewData(): &f.NewData, s.paths.OldData(): &f.OldData} {
		_, err := os.Lstat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		*there = err == nil
	}
	return nil
}

// findWAL finds out how far the WAL goes, if the verdict depends on it. It reads all WAL since the last checkpoint, once: while nobody runs
// a server here, only a step of ours changes it.
func (s *seeder) findWAL(ctx context.Context, f *plan.Facts) error {
	if !plan.NeedsWAL(*f) || plan.Broken(f.Journal) {
		return nil
	}
	c := *f.Data.Control
	if c.NewestTimeline() == f.Grant.Timeline {
		w, err := pgdata.PastOf(s.paths.Data(), c)
		f.WAL = &w
		return err
	}
	if s.wal == nil || !reflect.DeepEqual(s.walOf, c) {
		w, err := pgdata.FindWAL(ctx, s.tools, s.paths.Data(), c)
		if err != nil {
			return err
		}
		s.wal, s.walOf = &w, c
	}
	f.WAL = s.wal
	return nil
}

// phaseOf tells what a person must see to from what may pass by itself.
func phaseOf(err error) grant.Phase {
	var image *pgtools.NotFoundError
	var values *derive.RefusedError
	var wrong *keypair.Problem
	switch {
	case errors.As(err, &image), errors.As(err, &values), errors.As(err, &wrong):
		return grant.Refused
	case errors.Is(err, settings.ErrWrong), errors.Is(err, notes.ErrNewer):
		return grant.Refused
	default:
		return grant.Waiting
	}
}

func sentenceOf(err error) string {
	var values *derive.RefusedError
	if errors.As(err, &values) {
		return "the chart's values cannot be used: " + values.Error()
	}
	return err.Error()
}

// found is the volume as it is reported.
func found(f plan.Facts) *grant.Volume {
	v := &grant.Volume{
		Empty: f.Data.Empty && f.Note.SystemID == "" && f.Journal == nil, Noted: f.Note.Member, SystemID: f.Note.SystemID, Major: f.Data.Major,
		WasPrimary: f.Note.Primary, PrimaryLine: f.Note.PrimaryLine, PrimaryReign: f.Note.PrimaryReign, HighestEpoch: f.Note.HighestEpoch, Fenced: f.Note.Fenced,
	}
	if f.Journal != nil {
		v.OpenJournal = f.Journal.String()
	}
	if c := f.Data.Control; c != nil {
		v.SystemID, v.Timeline, v.ClusterState, v.Checkpoint = c.SystemID, c.NewestTimeline(), c.State, c.Checkpoint.String()
	}
	return v
}
