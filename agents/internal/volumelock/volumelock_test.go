package volumelock

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	one = Holder{Pod: "a-primary-0", UID: "1111", Node: "n1", Program: "guard"}
	two = Holder{Pod: "a-primary-0", UID: "2222", Node: "n2", Program: "seed"}
)

func TestSecondHolderIsRefusedAndToldWhoHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Try(path, one)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Try(path, two)
	var held *HeldError
	if !errors.As(err, &held) || held.Holder != one {
		t.Fatalf("second Try: got %v, want held by %v", err, one)
	}
	for _, want := range []string{"a-primary-0", "1111", "n1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("sentence %q does not name %s", err, want)
		}
	}
	free, by, err := Free(path)
	if err != nil || free || by != one {
		t.Errorf("Free: got %v %v %v, want held by %v", free, by, err, one)
	}
}

// The postmaster dies, a backend goes on: the volume is not free (SAFETY rule 6).
func TestLockLivesAsLongAsAnyChild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Try(path, one)
	if err != nil {
		t.Fatal(err)
	}
	// The shell is the postmaster, sleep its backend. The shell prints the backend's pid and ends.
	cmd := exec.Command("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
	cmd.ExtraFiles = []*os.File{l.File()}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("kill", "-9", backend).Run() })
	if err := l.HandOver(); err != nil {
		t.Fatal(err)
	}
	if free, _, err := Free(path); err != nil || free {
		t.Fatalf("Free with a backend alive: got %v, %v, want held", free, err)
	}
	var held *HeldError
	if _, err := Try(path, two); !errors.As(err, &held) {
		t.Fatalf("Try with a backend alive: got %v, want held", err)
	}
	if err := exec.Command("kill", "-9", backend).Run(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err = Wait(ctx, path, two, func(Holder) {})
	if err != nil {
		t.Fatalf("Wait after the last child died: %v", err)
	}
	defer l.Close()
	if by, ok, err := HeldBy(path); err != nil || !ok || by != two {
		t.Errorf("HeldBy: got %v %v %v, want %v", by, ok, err, two)
	}
}

func TestChildrenThatWereNotGivenTheFileDoNotKeepTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Try(path, one)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if free, by, err := Free(path); err != nil || !free {
		t.Errorf("Free: got %v %v %v, want free", free, by, err)
	}
}

func TestWaitEndsWithItsContextAndNamesTheHolderOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Try(path, one)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*Poll)
	defer cancel()
	var told []Holder
	_, err = Wait(ctx, path, two, func(h Holder) { told = append(told, h) })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: got %v, want deadline exceeded", err)
	}
	if len(told) != 1 || told[0] != one {
		t.Errorf("told: got %v, want [%v]", told, one)
	}
}

func TestUnreadableTextDoesNotUnlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Try(path, one)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(path, []byte("{\"pod\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Try(path, two)
	if err == nil || !strings.Contains(err.Error(), "not written its name") {
		t.Errorf("Try: got %v, want a nameless holder", err)
	}
}

// A longer name of the holder before must not show through, and a file that cannot be written over says so.
func TestNameOfTheHolderBeforeIsNotMistaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	long := Holder{Pod: strings.Repeat("x", 200), UID: "1111", Program: "guard"}
	for _, who := range []Holder{long, one, long, two} {
		l, err := Try(path, who)
		if err != nil {
			t.Fatal(err)
		}
		if !l.Signed() {
			t.Errorf("%s has not signed", who.Pod)
		}
		if by, ok, err := HeldBy(path); err != nil || !ok || by != who {
			t.Errorf("HeldBy: got %v %v %v, want %v", by, ok, err, who)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 4*textLength)), 0o600); err != nil { // longer than any name
		t.Fatal(err)
	}
	l, err := Try(path, one)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Signed() {
		t.Error("says that it has signed what cannot be read")
	}
}

func TestFileThatWasNeverMadeIsFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if free, _, err := Free(path); err != nil || !free {
		t.Errorf("Free: got %v %v, want free", free, err)
	}
	if _, ok, err := HeldBy(path); err != nil || ok {
		t.Errorf("HeldBy: got %v %v, want nobody", ok, err)
	}
}

func TestMissingDirectoryIsAnErrorAndNotAHolder(t *testing.T) {
	_, err := Try(filepath.Join(t.TempDir(), "gone", "lock"), one)
	var held *HeldError
	if err == nil || errors.As(err, &held) {
		t.Errorf("Try: got %v, want an error that is no HeldError", err)
	}
}
