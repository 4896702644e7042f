package notes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/layout"
)

// Steps that change a volume so that half of them is worse than none. The journal names the one under way.
const (
	StepInit   = "init"   // initdb into pgdata.new
	StepClone  = "clone"  // base backup into pgdata.new
	StepRewind = "rewind" // pg_rewind in pgdata
)

// Stages of a step.
const (
	// Began: what the step makes is worth nothing. It is thrown away and the step begins again. Of a rewind: it is prepared, and pgdata is
	// what it was.
	Began = "began"
	// Rewriting: pg_rewind changes pgdata. Until it has ended well, pgdata is worth nothing, however healthy it looks (SAFETY D22).
	Rewriting = "rewriting"
	// Complete: pgdata.new is whole and on disk. Nothing is missing but to put it in place. The stage stands here and not in a file in
	// pgdata.new, because a base backup would carry such a file to the next member, where it would be a lie.
	Complete = "complete"
	// Placed: pgdata.new has become pgdata, and what it replaces is pgdata.old.
	Placed = "placed"
)

// Entry is an open step of the journal. While there is one, no server is started (SAFETY D22).
type Entry struct {
	Format int       `json:"format"`
	Step   string    `json:"step"`
	Stage  string    `json:"stage"`
	Cause  string    `json:"cause"`
	Since  time.Time `json:"since"`
	Member string    `json:"member,omitempty"` // PVC UID for which the step was begun
	// Epoch, its name, and Timeline are those of the grant the step was begun under.
	Epoch    epoch.Epoch `json:"epoch"`
	Reign    string      `json:"reign,omitempty"`
	Timeline uint32      `json:"timeline,omitempty"`
	From     string      `json:"from,omitempty"`     // whom a clone comes from
	SystemID string      `json:"systemID,omitempty"` // what pgdata.new holds, once complete
	Initdb   *Initdb     `json:"initdb,omitempty"`   // how it was made
	// Replaces says what interrupted step has left the pgdata that a clone replaces. Empty: there is none.
	Replaces string `json:"replaces,omitempty"`
	// ByHand: the directory that is rewound was a standby's and had been opened for writing without a grant. What shows that is gone once
	// the rewind has begun.
	ByHand bool `json:"byHand,omitempty"`

	unknown map[string]json.RawMessage
}

// String gives the entry for the state and for sentences.
func (e Entry) String() string {
	return fmt.Sprintf("%s (%s, since %s)", e.Step, e.Stage, e.Since.UTC().Format(time.RFC3339))
}

// ReadJournal returns the open entry; nil when no step is under way.
func ReadJournal(p layout.Paths) (*Entry, error) {
	b, err := os.ReadFile(p.Journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	var e Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if err := check(e.Format, p.Journal()); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if e.unknown, err = unknown(b, e); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return &e, nil
}

// WriteJournal opens an entry or brings the open one to another stage.
func WriteJournal(p layout.Paths, e Entry) error {
	e.Format = Format
	b, err := encode(e, e.unknown)
	if err == nil {
		err = durable.WriteFile(p.Journal(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// CloseJournal removes the entry: the step is finished, or undone.
func CloseJournal(p layout.Paths) error {
	if err := durable.Remove(p.Journal()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// historyLimit is when the history is set aside as history.1, so that a volume holds at most twice as much.
const historyLimit = 1 << 20

// Event is one line of the history.
type Event struct {
	Time   time.Time         `json:"time"`
	What   string            `json:"what"` // constant words: "initdb done", "clone begun", "became primary"
	Reason string            `json:"reason,omitempty"`
	Pod    string            `json:"pod,omitempty"`
	Epoch  epoch.Epoch       `json:"epoch"`
	Detail map[string]string `json:"detail,omitempty"`
}

// AddHistory appends a line for people.
func AddHistory(p layout.Paths, e Event) error {
	e.Time = e.Time.UTC()
	path := filepath.Join(p.Notes(), "history")
	if info, err := os.Stat(path); err == nil && info.Size() > historyLimit {
		if err := durable.Rename(path, path+".1"); err != nil {
			return fmt.Errorf("set history aside: %w", err)
		}
	}
	b, err := json.Marshal(e)
	if err == nil {
		err = durable.Append(path, append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("add to history: %w", err)
	}
	return nil
}
