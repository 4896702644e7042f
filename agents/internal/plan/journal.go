package plan

import (
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/notes"
)

// journal decides by a step that was interrupted. What only began is worth nothing and is judged as if it had not (SAFETY rule 16). What is
// Broken was judged before.
func journal(f Facts) *Plan {
	e := f.Journal
	switch {
	case e == nil:
		return nil
	case !known(e):
		return refuse("use the release that began it, or a newer one; "+anew(f),
			"the journal holds an unfinished step that this release cannot finish: %s", e)
	case e.Step == notes.StepRewind:
		return journalRewind(f)
	case e.Stage == notes.Began && !f.Data.Empty:
		return refuse("move pgdata or notes/journal away after looking at both",
			"the journal says that %s was interrupted, which begins on an empty volume, but there is a data directory", e)
	case e.Stage == notes.Began:
		return nil
	case e.Replaces != "":
		return journalReplace(f)
	case f.NewData && !f.Data.Empty:
		return refuse("move pgdata or pgdata.new away after looking at both",
			"the journal says %s, and there is both a data directory and one that waits to be put in its place", e)
	case !f.NewData && f.Data.Empty && e.Step == notes.StepInit:
		return refuse(mayBeOnly, "the journal says %s, but the new data directory is gone", e)
	case !f.NewData && f.Data.Empty:
		return nil // a clone can be had again
	}
	return resume(f)
}

// known reports whether this release knows the step and its stage.
func known(e *notes.Entry) bool {
	switch e.Step {
	case notes.StepInit:
		return e.Stage == notes.Began || e.Stage == notes.Complete
	case notes.StepClone:
		return e.Stage == notes.Began || e.Stage == notes.Complete || e.Stage == notes.Placed && e.Replaces != ""
	case notes.StepRewind:
		return e.Stage == notes.Began || e.Stage == notes.Rewriting || e.Stage == notes.Complete
	}
	return false
}

// journalRewind is about a rewind that did not get to change pgdata, or that did all of it.
func journalRewind(f Facts) *Plan {
	if f.Journal.Stage == notes.Began || f.Data.Empty {
		return nil
	}
	return resume(f)
}

// journalReplace is about a whole clone whose place is taken by what an interrupted rewind has left.
func journalReplace(f Facts) *Plan {
	e := f.Journal
	switch {
	case e.Stage == notes.Complete && !f.NewData && f.Data.Empty:
		return nil
	case e.Stage == notes.Complete && !f.NewData && !f.OldData, e.Stage == notes.Placed && (f.NewData || f.Data.Empty):
		return refuse("look at what is in pgdata, pgdata.new and pgdata.old; "+anew(f),
			"the journal says %s, and the data directories on the volume are not those that the step leaves", e)
	}
	return resume(f)
}

// resume finishes a step of which nothing but the last lines are missing, if the volume is still whose it was.
func resume(f Facts) *Plan {
	if p := awaited(f); p != nil {
		return p
	}
	e := f.Journal
	if e.Member != f.Grant.Holder.Member {
		return refuse(copied, "the journal holds an unfinished step of another member (%s): this volume is a copy", e.Member)
	}
	return &Plan{Do: Action(e.Step), Resume: true, Reason: fmt.Sprintf("finish the interrupted step %s", e)}
}
