package pgdata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// WAL is how far the write-ahead log in a data directory goes. A server that starts there replays all of it.
type WAL struct {
	// Timeline is the one that the end lies on, and Lines how it came about. HistoryMissing: the file that says so is not there.
	Timeline       uint32
	Lines          []timeline.Line
	HistoryMissing bool
	// End is where the last valid record ends. Unless Exact, it is only known that it does not end before.
	End   lsn.LSN
	Exact bool
	// Problem says why the end is not known exactly.
	Problem string
}

// PastOf is what can be known of the WAL in dir, whose control file is c, without reading it.
func PastOf(dir string, c Control) (WAL, error) {
	w := WAL{Timeline: c.NewestTimeline(), End: atLeast(c)}
	if err := w.history(dir); err != nil {
		return WAL{}, fmt.Errorf("read the past of the data directory: %w", err)
	}
	return w, nil
}

// FindWAL finds the end of the WAL in dir, whose control file is c. An error means that it could not be found out; without pg_waldump the
// control file gives a lower bound.
func FindWAL(ctx context.Context, tools pgtools.Tools, dir string, c Control) (WAL, error) {
	w, err := PastOf(dir, c)
	if err != nil {
		return WAL{}, err
	}
	segments, err := Segments(dir, c.WALSegment)
	if err != nil {
		return WAL{}, fmt.Errorf("find the end of the WAL: %w", err)
	}
	if !tools.Has(pgtools.Waldump) {
		w.Problem = "the image has no pg_waldump"
		return w, nil
	}
	begun, err := findStub(dir, w.Timeline, c.WALSegment)
	if err != nil {
		return WAL{}, fmt.Errorf("find the end of the WAL: %w", err)
	}
	// A standby may have received WAL of a newer timeline and not have replayed any of it.
	var lines []uint32
	for _, s := range segments {
		if s.Timeline >= w.Timeline && (begun == nil || s.Timeline != begun.line) && !slices.Contains(lines, s.Timeline) {
			lines = append(lines, s.Timeline)
		}
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	for _, line := range lines {
		start, ok := scanFrom(segments, line, c)
		if !ok {
			continue
		}
		end, problem, err := scan(ctx, tools, dir, line, start, c.WALSegment)
		if err != nil {
			return WAL{}, fmt.Errorf("find the end of the WAL: %w", err)
		}
		if end == 0 {
			w.Problem = problem
			continue // a file of a newer timeline that nothing was written to
		}
		if line != w.Timeline {
			w.Timeline, w.End = line, 0
			if err := w.history(dir); err != nil {
				return WAL{}, fmt.Errorf("find the end of the WAL: %w", err)
			}
		}
		w.End, w.Exact, w.Problem = max(w.End, end), true, ""
		return w, nil
	}
	if w.Problem == "" {
		w.Problem = "no WAL of timeline " + strconv.FormatUint(uint64(w.Timeline), 10) + " is there"
	}
	return w, nil
}

// recordHeader is the least that a WAL record takes.
const recordHeader = 24

// atLeast is the end of the WAL as far as the control file knows it.
func atLeast(c Control) lsn.LSN {
	newest := c.NewestTimeline()
	var end lsn.LSN
	if c.Timeline == newest {
		end = c.Checkpoint + recordHeader
	}
	if c.MinRecoveryTimeline == newest {
		end = max(end, c.MinRecovery)
	}
	return end
}

// history reads how the timeline came about. The first one has no file.
func (w *WAL) history(dir string) error {
	w.Lines, w.HistoryMissing = nil, false
	if w.Timeline == 1 {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(dir, "pg_wal", fmt.Sprintf("%08X.history", w.Timeline)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if w.Lines, err = timeline.ParseHistory(string(text)); err != nil {
		return err
	}
	w.HistoryMissing = len(w.Lines) == 0
	return nil
}

// Segment is one file of WAL.
type Segment struct {
	Name     string
	Timeline uint32
	Start    lsn.LSN
}

var segmentName = regexp.MustCompile(`^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?$`)

// Segments lists the files of WAL in dir by name. A directory without pg_wal has none.
func Segments(dir string, size int64) ([]Segment, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "pg_wal"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Segment
	for _, e := range entries {
		if s, ok := parseSegment(e.Name(), size); ok {
			found = append(found, s)
		}
	}
	return found, nil
}

func parseSegment(name string, size int64) (Segment, bool) {
	parts := segmentName.FindStringSubmatch(name)
	if parts == nil || size <= 0 {
		return Segment{}, false
	}
	var n [3]uint64
	for i := range n {
		n[i], _ = strconv.ParseUint(parts[i+1], 16, 32) // eight hexadecimal digits are a number
	}
	return Segment{Name: name, Timeline: uint32(n[0]), Start: lsn.LSN(n[1]<<32 + n[2]*uint64(size))}, true
}

// scanFrom is where records of a timeline can be read from: the last checkpoint, or the first segment from there on.
func scanFrom(segments []Segment, line uint32, c Control) (lsn.LSN, bool) {
	from := c.Checkpoint - c.Checkpoint%lsn.LSN(c.WALSegment)
	for _, s := range segments {
		if s.Timeline != line || s.Start < from || strings.HasSuffix(s.Name, ".partial") {
			continue
		}
		if line == c.Timeline {
			return c.Checkpoint, s.Start == from // without the checkpoint's own segment the rest has no beginning
		}
		return s.Start, true
	}
	return 0, false
}

// scanLimit is far above what reading the WAL since one checkpoint takes, for storage that is slow but alive.
const scanLimit = 10 * time.Minute

var (
	readBetween    = regexp.MustCompile(`WAL statistics between [0-9A-F/]+ and ([0-9A-F]+/[0-9A-F]+):`)
	missingSegment = regexp.MustCompile(`could not find file "([0-9A-F]{24})"`)
)

// scan reads records from start to the first that is not valid, and returns where the last one ends; zero when there is none, with what
// pg_waldump said.
func scan(ctx context.Context, tools pgtools.Tools, dir string, line uint32, start lsn.LSN, size int64) (lsn.LSN, string, error) {
	ctx, cancel := context.WithTimeout(ctx, scanLimit)
	defer cancel()
	args := []string{"--stats", "--path=" + filepath.Join(dir, "pg_wal"), "--timeline=" + strconv.FormatUint(uint64(line), 10), "--start=" + start.String()}
	out, complaint, err := dump(ctx, tools, args)
	if err != nil {
		return 0, "", err
	}
	// Where the WAL ends with a segment, there is no next file, and pg_waldump gives up without telling what it has read.
	if missing := missingSegment.FindStringSubmatch(complaint); missing != nil && !readBetween.MatchString(out) {
		s, ok := parseSegment(missing[1], size)
		if !ok || s.Start <= start {
			return 0, complaint, nil
		}
		if out, complaint, err = dump(ctx, tools, append(args, "--end="+s.Start.String())); err != nil {
			return 0, "", err
		}
	}
	parts := readBetween.FindStringSubmatch(out)
	if parts == nil {
		return 0, complaint, nil
	}
	end, err := lsn.Parse(parts[1])
	return end, "", err
}

// dump runs pg_waldump, which ends with status 1 wherever the WAL does. What it read before is in its output.
func dump(ctx context.Context, tools pgtools.Tools, args []string) (out, complaint string, err error) {
	cmd := tools.Command(ctx, pgtools.Waldump, args...)
	var said, wrong strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &wrong
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	return said.String(), strings.TrimSpace(wrong.String()), err
}
