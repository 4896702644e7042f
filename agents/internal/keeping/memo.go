package keeping

import (
	"errors"
	"reflect"
	"slices"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// memo is what a leader's keeper leaves for its next process: whom to ask to hold still, should that one start while the store is away. It is never
// written to the store.
type memo struct {
	Format int `json:"format"`
	// Record is the last one whose write was confirmed.
	Record record.Record `json:"record"`
	// Lists are the lists of members that may have been written since then. Each is noted before it can be.
	Lists [][]record.Member `json:"lists,omitempty"`
	// Covered is the server whose beginning cannot be lost any more, in synchronous mode: the next process need not take the Service for writing off
	// it until it has found that out anew.
	Covered life `json:"covered,omitzero"`
}

const memoFormat = 1

// recall reads what an earlier process of this incarnation left, if it is of the very reign of the grant that is in force.
func recall(dir string, in grant.Grant) (*memo, error) {
	var m memo
	err := grant.ReadMemo(dir, &m)
	switch {
	case errors.Is(err, grant.ErrNone):
		return nil, nil
	case err != nil:
		return nil, err
	case m.Format != memoFormat || in.Role != grant.Primary || m.Record.Holder != in.Holder || m.Record.Epoch != in.Epoch || m.Record.Reign != in.Reign:
		return nil, nil
	}
	return &m, nil
}

// remember notes what is confirmed, if anything is, with all lists that may have been written since. It reports whether the note is there.
func (k *Keeper) remember(confirmed *record.Record) bool {
	k.memoMu.Lock()
	defer k.memoMu.Unlock()
	k.mu.Lock()
	if confirmed != nil {
		k.known.memo, k.known.recalled = memo{Format: memoFormat, Record: confirmed.Clone()}, nil
	}
	m := k.known.memo
	m.Covered = k.known.covered
	m.Lists = unconfirmed(k.known, m.Record)
	k.mu.Unlock()
	if m.Format == 0 { // nothing was confirmed yet, nor recalled: nobody can rest on it
		return true
	}
	if text := m.essence(); !reflect.DeepEqual(text, k.memoLast) {
		if err := grant.WriteMemo(k.o.Control, m); err != nil {
			k.memoLast = memo{}
			k.log.Warn("what a next process of keeper would need is not noted", "error", err)
			return false
		}
		k.memoLast = text
	}
	return true
}

// essence is what of a memo is worth a write.
func (m memo) essence() memo {
	r := m.Record
	m.Record = record.Record{Holder: r.Holder, Epoch: r.Epoch, Reign: r.Reign, Duration: r.Duration, FenceAfter: r.FenceAfter, Members: r.Members}
	return m
}

// unconfirmed are the lists of members that may have been written since the last confirmed write, by this process or the one before it.
func unconfirmed(n known, r record.Record) [][]record.Member {
	var out [][]record.Member
	if n.news.epoch == r.Epoch {
		out = slices.Clone(n.news.lists)
	}
	if n.recalled != nil && n.recalled.Record.Epoch == r.Epoch && n.recalled.Record.Reign == r.Reign {
		out = append(append(out, n.recalled.Record.Members), n.recalled.Lists...)
	}
	return out
}
