// Package epoch orders the reigns of primaries. A new epoch is a new timeline (SAFETY rule 14); the older epoch loses.
package epoch

import (
	"cmp"
	"fmt"
)

// Epoch counts changes of the primary: Site over all sites, Local inside one. They are compared in that order, and only between
// members of one system identifier (SAFETY rule 22). The zero value is older than every epoch that has existed.
type Epoch struct {
	Site  uint64 `json:"site"`
	Local uint64 `json:"local"`
}

// Compare returns -1, 0 or 1 as e is older than, the same as, or newer than o.
func (e Epoch) Compare(o Epoch) int {
	return cmp.Or(cmp.Compare(e.Site, o.Site), cmp.Compare(e.Local, o.Local))
}

// NextLocal is the epoch of the next primary inside the same site.
func (e Epoch) NextLocal() Epoch { return Epoch{e.Site, e.Local + 1} }

// IsZero reports whether no epoch was ever seen.
func (e Epoch) IsZero() bool { return e == Epoch{} }

// String gives "site.local", for logs and status.
func (e Epoch) String() string { return fmt.Sprintf("%d.%d", e.Site, e.Local) }
