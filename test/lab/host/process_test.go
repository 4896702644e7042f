package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestParseStat(t *testing.T) {
	const rest = " -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 "
	for name, c := range map[string]struct {
		stat    string
		started uint64
		state   string
		bad     bool
	}{
		"plain":                  {stat: "12 (sh) S 1 12 12 0" + rest + "777 9 9", started: 777, state: "S"},
		"name_with_brackets":     {stat: "12 (a) S (b) R 1 12 12 0" + rest + "888 9 9", started: 888, state: "R"},
		"dead_but_not_collected": {stat: "12 (sh) Z 1 12 12 0" + rest + "777 9 9", started: 777, state: "Z"},
		"cut_short":              {stat: "12 (sh) S 1 12", bad: true},
		"empty":                  {stat: "", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			started, state, err := parseStat(c.stat)
			if (err != nil) != c.bad || started != c.started || state != c.state {
				t.Errorf("got %d, %q, %v, want %d, %q, bad=%v", started, state, err, c.started, c.state, c.bad)
			}
		})
	}
}

func TestNumberOfAnotherProcessIsNotAlive(t *testing.T) {
	me, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !me.Alive() {
		t.Error("got the running process as dead")
	}
	earlier := Process{PID: me.PID, Started: me.Started - 1}
	if earlier.Alive() {
		t.Error("got a process as alive whose number now belongs to another one")
	}
}

func TestUncollectedProcessIsDead(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	process, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sub", "process.json")
	if err := process.Save(file); err != nil {
		t.Fatal(err)
	}
	loaded, known, err := LoadProcess(file)
	if err != nil || !known || loaded != process {
		t.Fatalf("got %+v, %v, %v, want %+v", loaded, known, err, process)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Without a Wait it stays a zombie.
	eventually(t, "killed process counts as dead", func() bool { return !loaded.Alive() })
	_ = cmd.Wait()
}

func TestNoFileMeansNoProcess(t *testing.T) {
	if _, known, err := LoadProcess(filepath.Join(t.TempDir(), "none")); known || err != nil {
		t.Errorf("got known=%v, %v, want none", known, err)
	}
}
