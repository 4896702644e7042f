package notes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/layout"
)

// Format is the version of all files that this code writes. It never leads by a file with a higher one (SAFETY D45).
const Format = 1

// Member says which volume this is.
type Member struct {
	Format int `json:"format"`
	// Member is the PVC UID under which the volume was first used. Another PVC's UID means that this is a copy (SAFETY D26).
	Member   string `json:"member,omitempty"`
	SystemID string `json:"systemID,omitempty"`
	Major    int    `json:"major,omitempty"`
	// Primary and PrimaryLine are the last epoch and timeline in which pgdata was primary, noted before it became so.
	Primary     epoch.Epoch `json:"primary"`
	PrimaryLine uint32      `json:"primaryLine,omitempty"`
	// PrimaryReign is the name of Primary; empty: noted by a release that gave none.
	PrimaryReign string `json:"primaryReign,omitempty"`
	// Vote is the newest version of the record that this volume has voted on. It streams only by the word of a newer one (SAFETY rule 8).
	Vote epoch.Version `json:"vote,omitzero"`
	// Started is as what pgdata was last made ready to start. A standby that is found without standby.signal, although nothing here says
	// that it became primary, was opened for writing by somebody else: pg_promote() by hand, for one.
	Started Start `json:"started,omitempty"`
	// HighestEpoch is the newest epoch this volume has seen in a grant (SAFETY D12).
	HighestEpoch epoch.Epoch `json:"highestEpoch"`
	// Fenced: a person's word keeps this member stopped. The record says so too, and is asked first; this is for when it cannot be.
	Fenced bool `json:"fenced,omitempty"`
	// Libraries are those the data directory was last started with; other ones may sort differently (SAFETY D28).
	Libraries Libraries `json:"libraries"`
	// Initdb is how the database was made, if it was made on this volume.
	Initdb *Initdb `json:"initdb,omitempty"`

	unknown map[string]json.RawMessage
}

// Start is a way to start a server. Empty is unknown: no note was made, or by a release that did not make this one.
type Start string

// The ways to start.
const (
	AsStandby Start = "standby"
	AsPrimary Start = "primary"
)

// Libraries decide how text sorts. An empty field is unknown.
type Libraries struct {
	Libc        string `json:"libc,omitempty"`        // glibc or musl
	LibcVersion string `json:"libcVersion,omitempty"` // "2.41"
	ICU         string `json:"icu,omitempty"`         // major version, "76"
}

// Initdb is what cannot be read back from pg_controldata.
type Initdb struct {
	Encoding       string `json:"encoding,omitempty"`
	LocaleProvider string `json:"localeProvider,omitempty"`
	Locale         string `json:"locale,omitempty"`
	ICULocale      string `json:"icuLocale,omitempty"`
}

// See raises the highest epoch to e if e is newer, and reports whether it was.
func (m *Member) See(e epoch.Epoch) bool {
	if m.HighestEpoch.Compare(e) >= 0 {
		return false
	}
	m.HighestEpoch = e
	return true
}

// Reign notes that pgdata becomes primary in e, which is called name, on timeline line. It must be on disk before that begins (SAFETY D20).
func (m *Member) Reign(e epoch.Epoch, name string, line uint32) {
	m.Primary, m.PrimaryReign, m.PrimaryLine, m.Started = e, name, line, AsPrimary
	m.See(e)
}

// Make makes the notes directory if it is missing.
func Make(p layout.Paths) error {
	switch err := os.Mkdir(p.Notes(), 0o700); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("make notes: %w", err)
	}
	if err := durable.SyncDir(p.Root()); err != nil {
		return fmt.Errorf("make notes: %w", err)
	}
	return nil
}

// ReadMember returns the note; ok is false when none was ever written.
func ReadMember(p layout.Paths) (m Member, ok bool, err error) {
	b, err := os.ReadFile(p.Member())
	if errors.Is(err, fs.ErrNotExist) {
		return Member{}, false, nil
	}
	if err != nil {
		return Member{}, false, fmt.Errorf("read member note: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return Member{}, false, fmt.Errorf("read member note: %w", err)
	}
	if err := check(m.Format, p.Member()); err != nil {
		return Member{}, false, fmt.Errorf("read member note: %w", err)
	}
	if m.unknown, err = unknown(b, m); err != nil {
		return Member{}, false, fmt.Errorf("read member note: %w", err)
	}
	return m, true, nil
}

// WriteMember replaces the note.
func WriteMember(p layout.Paths, m Member) error {
	m.Format = Format
	b, err := encode(m, m.unknown)
	if err == nil {
		err = durable.WriteFile(p.Member(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write member note: %w", err)
	}
	return nil
}

// Update reads the note, lets change alter it and writes it back, if it was altered. A missing note is an empty one.
func Update(p layout.Paths, change func(*Member)) (Member, error) {
	m, ok, err := ReadMember(p)
	if err != nil {
		return Member{}, err
	}
	old := m
	change(&m)
	if ok && reflect.DeepEqual(m, old) {
		return m, nil
	}
	if err := WriteMember(p, m); err != nil {
		return Member{}, err
	}
	return m, nil
}

// ErrNewer says that a newer release has written the volume's notes.
var ErrNewer = errors.New("the volume was used by a newer release, use that one or newer")

func check(format int, path string) error {
	switch {
	case format > Format:
		return fmt.Errorf("%s has format %d and this release understands up to %d: %w", path, format, Format, ErrNewer)
	case format < 1:
		return fmt.Errorf("%s has no format number", path)
	}
	return nil
}

// unknown returns the fields of b that the type of v does not have.
func unknown(b []byte, v any) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		delete(all, name)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// encode writes v with the unknown fields beside its own.
func encode(v any, unknown map[string]json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for name, value := range unknown {
		all[name] = value
	}
	b, err = json.MarshalIndent(all, "", "  ")
	return append(b, '\n'), err
}

// Sweep removes temporary files of writes that were killed. Only the holder of the volume's lock may call it.
func Sweep(p layout.Paths) error {
	for _, path := range []string{p.Member(), p.Journal()} {
		left, err := filepath.Glob(filepath.Join(p.Notes(), "."+filepath.Base(path)+"-*"))
		if err != nil {
			return fmt.Errorf("sweep notes: %w", err)
		}
		for _, name := range left {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("sweep notes: %w", err)
			}
		}
	}
	return nil
}
