// Package walend finds where the WAL of a server that is gone ends, without PostgreSQL's programs, which keeper's image does not have. What it
// finds decides whether a crashed server is worth waiting for, never who may lead: checksums are not looked at.
package walend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// Sizes and places in src/include/access/xlog_internal.h and xlogrecord.h, on the 64-bit little-endian machines that our images are built for.
const (
	page        = 8192 // as all packages of PostgreSQL are built
	shortHeader = 24
	longHeader  = 40 // of the first page of a segment
	record      = 24 // header of a record
	longest     = 1 << 30
	continued   = 1 // the page begins with the rest of a record
)

// Find returns the end of the last whole record on a timeline, from a place on where WAL is certain to be.
func Find(data string, timeline uint32, from lsn.LSN) (lsn.LSN, error) {
	w := &wal{dir: filepath.Join(data, "pg_wal"), line: timeline}
	defer w.close()
	var err error
	if w.segment, err = segmentSize(w.dir); err != nil {
		return 0, fmt.Errorf("find the end of the WAL: %w", err)
	}
	end, err := w.end(from / page * page)
	if err != nil {
		return 0, fmt.Errorf("find the end of the WAL: %w", err)
	}
	return end, nil
}

// segmentSize is that of the files themselves: initdb chose it, and the settings of today may say something else.
func segmentSize(dir string) (lsn.LSN, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		if !segmentName.MatchString(f.Name()) {
			continue
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // a server recycled it meanwhile
		}
		if err != nil {
			return 0, err
		}
		if size := info.Size(); size < page || size%page != 0 {
			return 0, fmt.Errorf("%s has %d bytes, which is no size of a segment", f.Name(), size)
		}
		return lsn.LSN(info.Size()), nil
	}
	return 0, fmt.Errorf("there is no WAL in %s", dir)
}

var segmentName = regexp.MustCompile(`^[0-9A-F]{24}$`)

type wal struct {
	dir     string
	line    uint32
	segment lsn.LSN
	file    *os.File
	at      lsn.LSN // where file begins
}

func (w *wal) close() {
	if w.file != nil {
		_ = w.file.Close() // it was only read
		w.file = nil
	}
}

// page returns a page; nil when it was never written: what stands there is older, or nothing does.
func (w *wal) page(at lsn.LSN) ([]byte, error) {
	if start := at / w.segment * w.segment; w.file == nil || w.at != start {
		w.close()
		n, per := uint64(start/w.segment), uint64(1<<32)/uint64(w.segment)
		f, err := os.Open(filepath.Join(w.dir, fmt.Sprintf("%08X%08X%08X", w.line, n/per, n%per)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		w.file, w.at = f, start
	}
	b := make([]byte, page)
	if _, err := w.file.ReadAt(b, int64(at-w.at)); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if lsn.LSN(binary.LittleEndian.Uint64(b[8:])) != at || binary.LittleEndian.Uint16(b) == 0 {
		return nil, nil
	}
	return b, nil
}

func (w *wal) header(at lsn.LSN) lsn.LSN {
	if at%w.segment == 0 {
		return longHeader
	}
	return shortHeader
}

// rest is how much of a record of before the page begins with.
func rest(b []byte) lsn.LSN {
	if binary.LittleEndian.Uint16(b[2:])&continued == 0 {
		return 0
	}
	return lsn.LSN(binary.LittleEndian.Uint32(b[16:]))
}

// last finds the last page that was written, by its segment first.
func (w *wal) last(from lsn.LSN) (lsn.LSN, error) {
	last := from
	for next := from/w.segment*w.segment + w.segment; ; next += w.segment {
		b, err := w.page(next)
		if err != nil {
			return 0, err
		}
		if b == nil {
			break
		}
		last = next
	}
	low, high := last, last/w.segment*w.segment+w.segment // low is written, high is not
	for low+page < high {
		middle := (low + (high-low)/2) / page * page
		b, err := w.page(middle)
		if err != nil {
			return 0, err
		}
		if b != nil {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

func (w *wal) end(from lsn.LSN) (lsn.LSN, error) {
	b, err := w.page(from)
	if err != nil {
		return 0, err
	}
	if b == nil {
		return 0, fmt.Errorf("there is no WAL of timeline %d at %s", w.line, from)
	}
	last, err := w.last(from)
	if err != nil {
		return 0, err
	}
	// The last record may span pages: begin with a page in which one begins.
	start := last
	for ; ; start -= page {
		if b, err = w.page(start); err != nil || b == nil {
			return start, err
		}
		if rest(b) < page-w.header(start) || start <= from {
			break
		}
	}
	at := align(start + w.header(start) + rest(b))
	for {
		end, whole, err := w.over(at, last)
		if err != nil || !whole {
			return at, err
		}
		at = end
	}
}

// over returns the end of the record at at, if it is whole.
func (w *wal) over(at, last lsn.LSN) (end lsn.LSN, whole bool, err error) {
	if at%page == 0 { // it begins on the next page
		at += w.header(at)
	}
	if at/page*page > last {
		return 0, false, nil
	}
	b, err := w.page(at / page * page)
	if err != nil || b == nil {
		return 0, false, err
	}
	left := lsn.LSN(binary.LittleEndian.Uint32(b[at%page:]))
	if left < record || left > longest {
		return 0, false, nil
	}
	for start := at / page * page; left > start+page-at; {
		left -= start + page - at
		if start += page; start > last {
			return 0, false, nil
		}
		if b, err = w.page(start); err != nil || b == nil || rest(b) != left {
			return 0, false, err
		}
		at = start + w.header(start)
	}
	return align(at + left), true, nil
}

func align(at lsn.LSN) lsn.LSN { return (at + 7) &^ 7 }
