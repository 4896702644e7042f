package pgdata

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

func TestTimelineOfAPositionIsThatOfItsNewestFile(t *testing.T) {
	const segment = 16 << 20
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "pg_wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"000000030000000000000004", "000000040000000000000004", "000000030000000000000005", "0000000A0000000100000000", "00000004.history"} {
		if err := os.WriteFile(filepath.Join(data, "pg_wal", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		at   lsn.LSN
		want uint32
	}{
		{0x4000028, 4}, {0x5000000, 4}, {0x5000001, 3}, {0x100000010, 10}, {0x100000000, 0}, {0x7000000, 0}, {0, 0},
	} {
		got, err := LineAt(data, c.at, segment)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: got %d (%v), want %d", c.at, got, err, c.want)
		}
	}
	// A file of timeline 4 holds what timeline 3 had before it was left at 0/4000800.
	if err := os.WriteFile(HistoryFile(data, 4), []byte("2\t0/2000000\tx\n3\t0/4000800\tx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[lsn.LSN]uint32{0x4000028: 3, 0x4000800: 3, 0x4000801: 4, 0x5000001: 3} {
		if got, err := LineAt(data, at, segment); got != want || err != nil {
			t.Errorf("%s with the history: got %d (%v), want %d", at, got, err, want)
		}
	}
	if got, want := filepath.Base(HistoryFile(data, 26)), fmt.Sprintf("%08X.history", 26); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
