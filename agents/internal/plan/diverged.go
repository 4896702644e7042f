package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// Fork is where a directory has left the past of its leader.
type Fork struct {
	Timeline uint32 // the last one that both have
	At       lsn.LSN
	Beyond   int64 // bytes of WAL from there on
	Exact    bool  // Beyond is all; otherwise there may be more
}

// Settle is how a directory gets to a clean shutdown, which pg_rewind needs (SAFETY D35).
type Settle string

const (
	// SettleNone: it was shut down cleanly and has replayed all its WAL.
	SettleNone Settle = ""
	// SettleCrash: a primary's crash recovery, by the server in single-user mode.
	SettleCrash Settle = "crash recovery"
	// SettleReplay: a standby's WAL is replayed to its end. In single-user mode a standby would end its recovery on its timeline.
	SettleReplay Settle = "replay"
)

// NeedsWAL reports whether the verdict depends on where the WAL of the data directory ends: before a replica follows a leader (SAFETY D46).
func NeedsWAL(f Facts) bool {
	g := f.Grant
	return g != nil && g.Role == grant.Replica && g.Upstream != nil && g.Timeline != 0 && !f.Data.Empty && f.Data.Control != nil
}

// byHand reports whether a standby was opened for writing without a grant: standby.signal is gone, the timeline is a new one, and no
// reign was noted.
func byHand(f Facts) (uint32, bool) {
	newest := max(f.Data.Control.NewestTimeline(), f.Data.HighestHistory)
	if e := f.Journal; e != nil && e.Step == notes.StepRewind {
		return newest, e.ByHand // crash recovery needed standby.signal away, or brought it back
	}
	return newest, f.Note.Started == notes.AsStandby && !f.Data.StandbySignal && newest > f.Note.PrimaryLine
}

// diverged compares the directory with the past of the leader that it is to follow, before every start and whoever it is.
func diverged(f Facts) *Plan {
	if !NeedsWAL(f) {
		return nil
	}
	g, w := f.Grant, f.WAL
	newest, hand := byHand(f)
	switch {
	case w == nil:
		return wait("it is not known how far the WAL of this member goes: %s", f.WALProblem)
	case hand && (newest == g.Timeline || slices.ContainsFunc(g.Lines, func(l timeline.Line) bool { return l.Timeline == newest })):
		return sameNumber(f, "the data directory was a standby's and has been opened for writing on timeline %d without a grant, a number that the record has given out as well", newest)
	case w.Timeline == g.Timeline && (w.HistoryMissing || len(g.Lines) == 0):
		return nil // nothing tells the two apart
	case len(g.Lines) == 0 && g.Timeline > 1:
		return wait("it is not known yet how timeline %d of %s came about", g.Timeline, g.Upstream.Name)
	case w.HistoryMissing:
		return withoutHistory(f)
	}
	line, at, ok := timeline.Fork(w.Timeline, w.Lines, g.Timeline, g.Lines)
	if !ok {
		return refuse(anew(f), "diverged: timeline %d of this member and timeline %d of %s have nothing in common", w.Timeline, g.Timeline, g.Upstream.Name)
	}
	if w.End <= at {
		return nil
	}
	return rewind(f, Fork{Timeline: line, At: at, Beyond: w.End.Sub(at), Exact: w.Exact})
}

// withoutHistory judges by the leader's history alone. Past the fork pg_rewind could not help either.
func withoutHistory(f Facts) *Plan {
	where, _ := timeline.Relate(f.WAL.Timeline, f.WAL.End, f.Grant.Timeline, f.Grant.Lines)
	if where == timeline.On {
		return nil
	}
	return refuse(anew(f), "diverged: this member is on timeline %d, past where %s left it or beside its past, and the file that tells how that timeline came about is gone",
		f.WAL.Timeline, f.Grant.Upstream.Name)
}

// sameNumber refuses what pg_rewind would take for one past: it compares numbers only, and says that nothing is to be done (SAFETY D20).
func sameNumber(f Facts, format string, args ...any) *Plan {
	return refuse("pg_rewind cannot tell the two apart; look at what this member holds; "+anew(f), "diverged: "+format, args...)
}

// rewind says how a directory past the fork comes back, or why it does not.
func rewind(f Facts, fork Fork) *Plan {
	g, c := f.Grant, f.Data.Control
	bytes := fmt.Sprint(fork.Beyond)
	if !fork.Exact {
		bytes = "at least " + bytes
	}
	holds := fmt.Sprintf("diverged: this member holds %s bytes of WAL past the fork from %s at %s on timeline %d", bytes, g.Upstream.Name, fork.At, fork.Timeline)
	switch {
	case f.WAL.Timeline == g.Timeline:
		return sameNumber(f, "timeline %d of this member is not that of %s: they began in different places", g.Timeline, g.Upstream.Name)
	case !g.MayRewind:
		return refuse("look at what it holds; "+anew(f), "%s, and keeper does not allow a rewind", holds)
	case fork.Beyond > g.MaxDiscard:
		return refuse(fmt.Sprintf("look at what it holds, then set failover.maxAutoDiscard to %d or more to give that up, or %s", fork.Beyond, anew(f)),
			"%s, and gives up no more than %d by itself", holds, g.MaxDiscard)
	case !f.Tools.Has(pgtools.Rewind) || !f.Tools.Has(pgtools.Psql):
		return refuse("use an image that has it, or "+anew(f), "%s, and the image has no %s in %s", holds, strings.Join(lacks(f.Tools), " and no "), f.Tools.Dir)
	case !c.Checksums && !c.LogHints:
		return refuse(anew(f), "%s, and it can be rewound neither by checksums nor by wal_log_hints: both were off", holds)
	}
	_, hand := byHand(f)
	return &Plan{Do: Rewind, Fork: fork, ByHand: hand, Settle: settling(f, fork), Reason: holds + ": it is rewound"}
}

func lacks(tools pgtools.Tools) []string {
	var missing []string
	for _, name := range []string{pgtools.Rewind, pgtools.Psql} {
		if !tools.Has(name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// settling says what is missing to a clean shutdown. pg_rewind takes the position in a standby's control file for the end of its WAL;
// what was received and not replayed would lead the next start past the fork again.
func settling(f Facts, fork Fork) Settle {
	d, c := f.Data, f.Data.Control
	switch {
	case d.BackupLabel || c.BackupStart != 0 || c.State == pgdata.StateReplaying:
		return SettleReplay
	case c.State == pgdata.StateStandbyDown && (max(c.MinRecovery, c.Checkpoint) <= fork.At || !fork.Exact && !f.Settled):
		return SettleReplay // what it has received and not replayed would be given up uncounted
	case c.Clean():
		return SettleNone
	default:
		return SettleCrash
	}
}

// Broken reports whether the journal says that pgdata is neither what it was nor what it was to become.
func Broken(e *notes.Entry) bool {
	return e != nil && (e.Step == notes.StepRewind && e.Stage == notes.Rewriting || e.Step == notes.StepClone && e.Replaces != "" && e.Stage == notes.Began)
}

// judgeBroken judges a directory that an interrupted rewind has left as if there were none: whatever can be read from it, it is not data
// (SAFETY D22).
func judgeBroken(f Facts) Plan {
	e := f.Journal
	f.Data, f.WAL, f.WALProblem = pgdata.Facts{Empty: true}, nil, ""
	f.Journal = nil
	p := judge(f)
	left := e.Replaces
	if e.Step == notes.StepRewind {
		left = e.String()
	}
	if p.Do != Clone {
		p.Reason = fmt.Sprintf("pgdata was left half done by an interrupted step, %s, and must be cloned: %s", left, p.Reason)
		return p
	}
	p.Replace, p.Warnings = true, warnings(f)
	p.Reason = fmt.Sprintf("pgdata was left half done by an interrupted step, %s: clone from %s", left, f.Grant.Upstream.Name)
	return p
}
