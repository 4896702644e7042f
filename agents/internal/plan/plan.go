// Package plan decides what becomes of a volume before a server is started on it. It asks nobody and touches nothing: facts go in, a
// verdict with its reason comes out. seed judges by it once and guard before every start.
package plan

import (
	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// Action is what is to be done with a volume.
type Action string

const (
	Keep   Action = "keep"   // the data directory may be started as it is
	Init   Action = "init"   // make a new database
	Clone  Action = "clone"  // fill the empty volume by a base backup from the grant's upstream
	Rewind Action = "rewind" // bring a directory that has diverged back by pg_rewind from the grant's upstream
	Refuse Action = "refuse" // something is wrong that needs a person, or another grant
	Wait   Action = "wait"   // nothing is wrong; the grant does not say what to do yet
)

// Plan is the verdict.
type Plan struct {
	Do     Action
	Reason string
	// Hint says what to do about a refusal.
	Hint string
	// Resume: the journal says that pgdata.new, or the rewound pgdata, is whole, and only the rest of the step is to be done.
	Resume bool
	// Replace: pgdata is what an interrupted rewind has left. It is kept until its clone is whole, and then removed.
	Replace bool
	// Fork is where a directory that is to be rewound left its leader's past, and Settle what it needs before.
	Fork   Fork
	Settle Settle
	// ByHand: that directory was a standby's and has been opened for writing without a grant.
	ByHand bool
	// Warnings are findings that do not change the verdict.
	Warnings []string
}

// Sentence is reason and hint together, for the state and the log.
func (p Plan) Sentence() string {
	if p.Hint == "" {
		return p.Reason
	}
	return p.Reason + ": " + p.Hint
}

// Facts are all that a verdict depends on.
type Facts struct {
	Data pgdata.Facts
	// NewData: pgdata.new is there. OldData: pgdata.old is.
	NewData, OldData bool
	// WAL is how far the data directory's WAL goes; nil: not known, or nobody needs to know. NeedsWAL tells. WALProblem says why it could
	// not be found out.
	WAL        *pgdata.WAL
	WALProblem string
	// Settled: all of the WAL has been replayed, and the server shut down cleanly, by this very program under this lock. Its control file tells the end.
	Settled bool
	// ModeProblem says why the mode of the data directory could not be repaired; empty when it is right.
	ModeProblem string
	// Note is what the volume says of itself; Noted is false when it says nothing.
	Note    notes.Member
	Noted   bool
	Journal *notes.Entry

	// Grant is nil when keeper has not written one.
	Grant *grant.Grant
	Me    grant.Incarnation // pod and boot
	Now   boottime.Instant

	Settings settings.Settings
	Tools    pgtools.Tools
	// UID is the user this process runs as, and so the server.
	UID int
}

// Judge decides. The checks stand in the order of what must be known first: the image, the volume by itself, the volume against the
// grant, what the grant says. The first that has something to say wins.
func Judge(f Facts) Plan {
	if Broken(f.Journal) {
		return judgeBroken(f)
	}
	return judge(f)
}

func judge(f Facts) Plan {
	for _, check := range []func(Facts) *Plan{image, journal, directory, awaited, identity, history, drift, diverged, granted} {
		if p := check(f); p != nil {
			p.Warnings = append(p.Warnings, warnings(f)...)
			return *p
		}
	}
	return Plan{Do: Keep, Reason: "the data directory belongs to this member and database", Warnings: warnings(f)}
}

// Writable reports whether the server may be started without standby.signal (SAFETY rule 15): only under a grant to be primary, and
// only if this very directory was already primary in the same epoch and on the same timeline, so that nothing but a restart happens.
// Every other primary starts as a standby and is promoted to a new timeline. The reason says what is missing.
func Writable(g grant.Grant, me grant.Incarnation, now boottime.Instant, note notes.Member, data pgdata.Facts) (bool, string) {
	switch {
	case g.Role != grant.Primary:
		return false, "the grant is to be " + string(g.Role)
	case !g.Valid(me, now):
		return false, "the grant to be primary is another incarnation's, or has run out"
	case note.Member == "" || note.Member != g.Holder.Member:
		return false, "the volume does not note that it is the granted member's"
	case note.Primary != g.Epoch:
		return false, "the directory was last primary in epoch " + note.Primary.String() + ", granted is " + g.Epoch.String()
	case note.PrimaryReign != g.Reign:
		return false, "the directory was primary in another epoch of this number than granted: the record was set back"
	case note.PrimaryLine != g.Timeline:
		return false, "the directory was primary on another timeline of this epoch than granted"
	case data.Control == nil:
		return false, "the control file could not be read"
	case data.Control.NewestTimeline() != g.Timeline:
		// The note is written before the promotion: one that was killed in between is still a standby on the old timeline.
		return false, "the promotion to the granted timeline did not happen yet"
	case data.BackupLabel || data.Control.BackupStart != 0:
		return false, "the directory is a base backup that has not been recovered"
	default:
		return true, "the directory was primary in this epoch and timeline already"
	}
}
