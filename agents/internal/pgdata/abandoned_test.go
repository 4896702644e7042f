package pgdata

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestOnlyFilesOfAbandonedTimelinesAreSetAside(t *testing.T) {
	history := "1\t0/3000000\tx\n\n2\t0/5000000\tx\n"
	for name, c := range map[string]struct {
		line    uint32
		history string
		files   []string
		want    []string
	}{
		"promoted_by_hand_above":    {2, "1\t0/3000000\tx\n", []string{"000000010000000000000003", "000000020000000000000003", "000000030000000000000003"}, []string{"000000030000000000000003"}},
		"beside_the_way":            {4, history, []string{"000000010000000000000002", "000000020000000000000005", "000000030000000000000005", "000000040000000000000005"}, []string{"000000030000000000000005"}},
		"first_timeline":            {1, "", []string{"000000010000000000000003", "000000020000000000000003.partial"}, []string{"000000020000000000000003.partial"}},
		"history_is_not_there":      {4, "", []string{"000000030000000000000005", "000000050000000000000005"}, []string{"000000050000000000000005"}},
		"one_is_kept_already":       {2, "1\t0/3000000\tx\n", []string{"000000030000000000000003", "000000030000000000000004"}, []string{"000000030000000000000003", "000000030000000000000004"}},
		"all_on_the_way":            {4, history, []string{"000000010000000000000002", "000000020000000000000005"}, nil},
		"what_is_no_segment_stays":  {1, "", []string{"00000002.history", "archive_status", "000000030000000000000003.00000028.backup"}, nil},
		"nothing_there":             {1, "", nil, nil},
		"history_that_is_no_longer": {2, "1\t0/3000000\tx\n", []string{"00000003.history"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "pg_wal"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, f := range c.files {
				if err := os.WriteFile(filepath.Join(dir, "pg_wal", f), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.history != "" {
				if err := os.WriteFile(HistoryFile(dir, c.line), []byte(c.history), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			kept := filepath.Join(dir, "notes", "diverged-0.4")
			if len(c.want) > 1 { // copied before
				if err := os.MkdirAll(kept, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(kept, c.want[0]), []byte("copy"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := SetAbandonedAside(dir, kept, c.line)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
			for _, f := range c.files {
				_, err := os.Stat(filepath.Join(dir, "pg_wal", f))
				gone := slices.Contains(c.want, f)
				if gone != os.IsNotExist(err) {
					t.Errorf("%s: %v", f, err)
				}
				text, err := os.ReadFile(filepath.Join(kept, f))
				want := "x"
				if len(c.want) > 1 && f == c.want[0] {
					want = "copy"
				}
				if gone && string(text) != want || gone != (err == nil) {
					t.Errorf("%s is kept as %q: %v", f, text, err)
				}
			}
		})
	}
}
