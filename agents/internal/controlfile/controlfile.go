// Package controlfile reads the head of PostgreSQL's global/pg_control without PostgreSQL's programs, which keeper's image does not have. Only
// the fields that have stood in the same place since PostgreSQL 11 are read, and only if the file's checksum is right.
package controlfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pgspan/pgspan/agents/internal/lsn"
)

// State is the "Database cluster state".
type State uint32

// ShutDown: the last server wrote its shutdown checkpoint as a primary. Every other state is not a clean end of one.
const ShutDown State = 1

// Control is the head of the file.
type Control struct {
	SystemID   string
	State      State
	Checkpoint lsn.LSN // of the latest checkpoint record
	// Redo is where crash recovery would begin, on Timeline.
	Redo     lsn.LSN
	Timeline uint32
}

// Offsets in struct ControlFileData (src/include/catalog/pg_control.h), on the 64-bit little-endian machines that our images are built for.
const (
	offState      = 16
	offCheckpoint = 32
	offRedo       = 40
	offTimeline   = 48
	offFields     = 52
	// The checksum is the last field; the file is padded with zeros behind it.
	longest = 512
)

// Read reads the control file of a data directory.
func Read(data string) (Control, error) {
	b, err := os.ReadFile(filepath.Join(data, "global", "pg_control"))
	if err != nil {
		return Control{}, fmt.Errorf("read control file: %w", err)
	}
	if !whole(b) {
		return Control{}, fmt.Errorf("read control file: its checksum is wrong")
	}
	return Control{
		SystemID:   strconv.FormatUint(binary.LittleEndian.Uint64(b), 10),
		State:      State(binary.LittleEndian.Uint32(b[offState:])),
		Checkpoint: lsn.LSN(binary.LittleEndian.Uint64(b[offCheckpoint:])),
		Redo:       lsn.LSN(binary.LittleEndian.Uint64(b[offRedo:])),
		Timeline:   binary.LittleEndian.Uint32(b[offTimeline:]),
	}, nil
}

// whole looks for the checksum of all before it. Where it stands differs between major versions; that it stands somewhere by chance is a matter
// of one in thirty million.
func whole(b []byte) bool {
	table := crc32.MakeTable(crc32.Castagnoli)
	for end := offFields; end+4 <= min(len(b), longest); end += 4 {
		sum := binary.LittleEndian.Uint32(b[end:])
		if sum != 0 && crc32.Checksum(b[:end], table) == sum {
			return true
		}
	}
	return false
}
