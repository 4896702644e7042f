// Package lsn holds positions in PostgreSQL's write-ahead log.
package lsn

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte position in the WAL. Zero is InvalidXLogRecPtr: PostgreSQL never writes there, so it means "none".
type LSN uint64

// Parse reads PostgreSQL's text form, two hexadecimal halves of up to 32 bits each ("16/B374D848").
func Parse(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("parse LSN %q: want two hexadecimal numbers with a slash between", s)
	}
	h, err := strconv.ParseUint(hi, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("parse LSN %q: %w", s, err)
	}
	l, err := strconv.ParseUint(lo, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("parse LSN %q: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

// String gives PostgreSQL's text form.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// Sub returns the bytes from o to l; negative when l is behind o.
func (l LSN) Sub(o LSN) int64 { return int64(l - o) }

// MarshalJSON writes the text form.
func (l LSN) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// UnmarshalJSON reads the text form.
func (l *LSN) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("parse LSN: %w", err)
	}
	v, err := Parse(s)
	if err != nil {
		return err
	}
	*l = v
	return nil
}

// Scan implements sql.Scanner over the text form, which is how pgx hands over pg_lsn to a plain scanner.
func (l *LSN) Scan(src any) error {
	switch v := src.(type) {
	case string:
		p, err := Parse(v)
		if err != nil {
			return err
		}
		*l = p
		return nil
	case uint64:
		*l = LSN(v)
		return nil
	default:
		return fmt.Errorf("scan LSN from %T: want its text form", src)
	}
}
