package notes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/layout"
)

func volume(t *testing.T) layout.Paths {
	t.Helper()
	p := layout.In(t.TempDir())
	if err := Make(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMissingNoteIsNotAnEmptyOne(t *testing.T) {
	p := volume(t)
	if _, ok, err := ReadMember(p); ok || err != nil {
		t.Errorf("ReadMember: got %v %v, want not ok", ok, err)
	}
	if e, err := ReadJournal(p); e != nil || err != nil {
		t.Errorf("ReadJournal: got %v %v, want nil", e, err)
	}
}

func TestMemberComesBack(t *testing.T) {
	p := volume(t)
	want, err := Update(p, func(m *Member) {
		m.Member, m.SystemID, m.Major = "pvc-1", "7412", 17
		m.Reign(epoch.Epoch{Site: 1, Local: 4}, "ab12", 6)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, ok, err := ReadMember(p)
	if err != nil || !ok {
		t.Fatalf("ReadMember: %v %v", ok, err)
	}
	if got.Primary != want.Primary || got.PrimaryLine != 6 || got.HighestEpoch != want.Primary || got.Member != "pvc-1" {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOlderEpochDoesNotLowerTheHighest(t *testing.T) {
	m := Member{HighestEpoch: epoch.Epoch{Site: 2, Local: 1}}
	if m.See(epoch.Epoch{Site: 1, Local: 9}) || m.HighestEpoch.Site != 2 {
		t.Errorf("got %v, want it unchanged at 2.1", m.HighestEpoch)
	}
	if !m.See(epoch.Epoch{Site: 2, Local: 2}) {
		t.Error("a newer epoch was not taken")
	}
}

func TestNoteOfANewerReleaseIsNotActedUpon(t *testing.T) {
	p := volume(t)
	for path, read := range map[string]func() error{
		p.Member():  func() error { _, _, err := ReadMember(p); return err },
		p.Journal(): func() error { _, err := ReadJournal(p); return err },
	} {
		if err := os.WriteFile(path, []byte(`{"format": 2}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := read(); err == nil || !strings.Contains(err.Error(), "newer release") {
			t.Errorf("%s: got %v, want a word about a newer release", filepath.Base(path), err)
		}
	}
}

func TestHalfWrittenNoteIsAnError(t *testing.T) {
	p := volume(t)
	for _, text := range []string{"", `{"format": 1, "mem`, `{}`} {
		if err := os.WriteFile(p.Member(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ReadMember(p); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	p := volume(t)
	old := `{"format": 1, "member": "pvc-1", "votedOn": {"version": 12}}`
	if err := os.WriteFile(p.Member(), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Update(p, func(m *Member) { m.SystemID = "7" }); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(p.Member())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"votedOn"`, `12`, `"systemID": "7"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
}

// A restart on a full disk must not fail for a note that says what it said before.
func TestUnchangedNoteIsNotWritten(t *testing.T) {
	p := volume(t)
	if _, err := Update(p, func(m *Member) { m.Member = "pvc-1" }); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(p.Member())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Update(p, func(m *Member) { m.Member = "pvc-1" }); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(p.Member())
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the note was replaced although nothing changed")
	}
}

func TestJournalOpensAdvancesAndCloses(t *testing.T) {
	p := volume(t)
	e := Entry{Step: StepClone, Stage: Began, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), From: "db-primary-0"}
	if err := WriteJournal(p, e); err != nil {
		t.Fatal(err)
	}
	e.Stage = Complete
	if err := WriteJournal(p, e); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJournal(p)
	if err != nil || got == nil {
		t.Fatalf("ReadJournal: %v %v", got, err)
	}
	if got.String() != "clone (complete, since 2026-01-02T03:04:05Z)" || got.From != e.From {
		t.Errorf("got %v from %s", got, got.From)
	}
	for range 2 { // closing a closed journal is no error: a killed start does it again
		if err := CloseJournal(p); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := ReadJournal(p); got != nil || err != nil {
		t.Errorf("after closing: got %v %v", got, err)
	}
}

func TestTemporaryFilesOfKilledWritesAreSweptAndNothingElse(t *testing.T) {
	p := volume(t)
	left := filepath.Join(p.Notes(), ".member.json-123")
	other := filepath.Join(p.Notes(), "history")
	for _, f := range []string{left, other, p.Journal()} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(p); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("the temporary file is still there")
	}
	for _, f := range []string{other, p.Journal()} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	p := volume(t)
	path := filepath.Join(p.Notes(), "history")
	if err := os.WriteFile(path, make([]byte, historyLimit+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := AddHistory(p, Event{What: "clone begun"}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil || strings.Count(string(b), "clone begun") != 2 || len(b) > 1000 {
		t.Errorf("history: %d bytes, %v", len(b), err)
	}
	if info, err := os.Stat(path + ".1"); err != nil || info.Size() != historyLimit+1 {
		t.Errorf("history.1: %v", err)
	}
}
