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

// Version is one state of the record: its epoch, and how often it was written. The holder writes it all the time, so a later beat of one
// epoch says that its leader lived. A member that has voted on one version streams again only by the word of a newer one (SAFETY rule 8).
type Version struct {
	Epoch Epoch  `json:"epoch"`
	Beat  uint64 `json:"beat"`
}

// Newer reports whether v is newer than o.
func (v Version) Newer(o Version) bool {
	return cmp.Or(v.Epoch.Compare(o.Epoch), cmp.Compare(v.Beat, o.Beat)) > 0
}

// IsZero reports whether there is none.
func (v Version) IsZero() bool { return v == Version{} }

// String gives "site.local/beat", for logs and status.
func (v Version) String() string { return fmt.Sprintf("%s/%d", v.Epoch, v.Beat) }
