package rewind

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

// Stretch is a part of a member's past on one timeline.
type Stretch struct {
	Timeline   uint32
	Start, End lsn.LSN
}

// Beyond gives the parts of the past w that lie past the fork.
func Beyond(w pgdata.WAL, fork lsn.LSN) []Stretch {
	var found []Stretch
	var begin lsn.LSN
	for _, l := range w.Lines {
		if l.End > fork && l.End > begin {
			found = append(found, Stretch{l.Timeline, max(begin, fork), l.End})
		}
		begin = l.End
	}
	if start := max(begin, fork); w.End > start {
		found = append(found, Stretch{w.Timeline, start, w.End})
	}
	return found
}

// Counts is what lies in WAL.
type Counts struct {
	Commits   int
	Relations []string // "tablespace/database/relfilenode" of what was changed, sorted
}

// readLimit is far above what reading as much WAL as is given up takes.
const readLimit = 10 * time.Minute

var relation = regexp.MustCompile(`\brel ([0-9]+/[0-9]+/[0-9]+)\b`)

// Count reads what lies past the fork. An error means that it is not known.
func Count(ctx context.Context, tools pgtools.Tools, data string, parts []Stretch) (Counts, error) {
	if !tools.Has(pgtools.Waldump) {
		return Counts{}, errors.New("the image has no pg_waldump")
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	var c Counts
	changed := map[string]bool{}
	for _, p := range parts {
		if err := c.add(ctx, tools, data, p, changed); err != nil {
			return Counts{}, fmt.Errorf("read the WAL past the fork: %w", err)
		}
	}
	for name := range changed {
		c.Relations = append(c.Relations, name)
	}
	slices.Sort(c.Relations)
	return c, nil
}

func (c *Counts) add(ctx context.Context, tools pgtools.Tools, data string, p Stretch, changed map[string]bool) error {
	cmd := tools.Command(ctx, pgtools.Waldump, "--path="+filepath.Join(data, "pg_wal"), "--timeline="+strconv.FormatUint(uint64(p.Timeline), 10),
		"--start="+p.Start.String(), "--end="+p.End.String())
	complaint := &pgtools.Lines{}
	cmd.Stderr = complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	records := 0
	lines := bufio.NewReaderSize(out, 1<<16)
	for err == nil {
		var line string
		line, err = lines.ReadString('\n')
		if !strings.HasPrefix(line, "rmgr: ") {
			continue
		}
		records++
		if strings.HasPrefix(line, "rmgr: Transaction ") && strings.Contains(line, "desc: COMMIT") {
			c.Commits++
		}
		for _, m := range relation.FindAllStringSubmatch(line, -1) {
			changed[m[1]] = true
		}
	}
	// It ends with a complaint where the WAL ends; that is no error of ours unless it has read nothing.
	wait := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.Is(err, io.EOF):
		return err
	case records == 0:
		return fmt.Errorf("nothing could be read: %w: %s", why(ctx, wait), complaint.Said(pgtools.Waldump))
	}
	return nil
}

// keepSets is how many sets of WAL of earlier rewinds are kept beside the newest.
const keepSets = 4

// NoRoomError says that what is given up cannot be kept.
type NoRoomError struct{ Free, Needs int64 }

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("the volume has %d MB free, and keeping it takes %d MB", e.Free>>20, e.Needs>>20)
}

// Keep copies the WAL of these parts to a directory that is not there yet, or is there whole from an earlier try.
func Keep(ctx context.Context, data, to string, segment int64, parts []Stretch) error {
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	files, err := filesOf(data, segment, parts)
	if err != nil {
		return fmt.Errorf("keep the WAL past the fork: %w", err)
	}
	return keepFiles(ctx, data, to, files, int64(len(files))*segment)
}

func keepFiles(ctx context.Context, data, to string, files []string, size int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(data, &fs); err != nil {
		return fmt.Errorf("keep the WAL past the fork: %w", err)
	}
	// The rewind itself copies about as much.
	if free, needs := int64(fs.Bavail)*fs.Bsize, 2*size; free < needs {
		return &NoRoomError{free, needs}
	}
	if err := copyAll(ctx, files, to); err != nil {
		return fmt.Errorf("keep the WAL past the fork: %w", err)
	}
	return forget(to)
}

// filesOf lists the segments that hold these parts, and the histories of their timelines.
func filesOf(data string, segment int64, parts []Stretch) ([]string, error) {
	all, err := pgdata.Segments(data, segment)
	if err != nil {
		return nil, err
	}
	wal := filepath.Join(data, "pg_wal")
	var files []string
	for _, p := range parts {
		for _, s := range all {
			if s.Timeline == p.Timeline && s.Start+lsn.LSN(segment) > p.Start && s.Start < p.End {
				files = append(files, filepath.Join(wal, s.Name))
			}
		}
		history := filepath.Join(wal, fmt.Sprintf("%08X.history", p.Timeline))
		if _, err := os.Lstat(history); err == nil {
			files = append(files, history)
		}
	}
	return files, nil
}

func copyAll(ctx context.Context, files []string, to string) error {
	making := to + ".partial"
	if err := os.RemoveAll(making); err != nil {
		return err
	}
	if err := os.Mkdir(making, 0o700); err != nil {
		return err
	}
	for _, from := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := copyFile(from, filepath.Join(making, filepath.Base(from))); err != nil {
			return err
		}
	}
	if err := durable.SyncDir(making); err != nil {
		return err
	}
	return durable.Rename(making, to)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// setPrefix begins the names of what is kept.
const setPrefix = "diverged-"

// SetName is the name of the directory for what a rewind under epoch that was begun at since gives up.
func SetName(epoch string, since time.Time) string {
	return setPrefix + epoch + "-" + since.UTC().Format("20060102T150405Z")
}

// forget removes the oldest sets beside newest, so that a member that diverges again and again does not fill its volume.
func forget(newest string) error {
	sets, err := filepath.Glob(filepath.Join(filepath.Dir(newest), setPrefix+"*"))
	if err != nil {
		return err
	}
	begun := func(path string) string { return path[strings.LastIndexByte(path, '-')+1:] }
	sets = slices.DeleteFunc(sets, func(path string) bool { return path == newest })
	slices.SortFunc(sets, func(a, b string) int { return strings.Compare(begun(b), begun(a)) })
	for _, old := range sets[min(keepSets, len(sets)):] {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("forget the WAL of an older rewind: %w", err)
		}
	}
	return nil
}
