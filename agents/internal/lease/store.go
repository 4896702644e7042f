// Package lease holds a site's record by compare-and-set and nothing else: an own loop over a store of one value, because the rules
// of who may hold it for how long are the product's core and are not those of ready-made leader elections (SAFETY D10).
//
//   - A holder's grant ends at the boot clock read before a renewal was sent plus the fence-after written in that renewal. An answer
//     that did not come extends nothing, even if the write was applied.
//   - Somebody else takes over only by compare-and-set on the very version that this process has seen unchanged for the duration
//     written in it.
//   - A missing or older record is a broken store and not a free lease. The holder in force writes it again; nobody else takes it.
//   - A conflict that shows another holder means lost. Everything else that goes wrong means "could not renew".
package lease

import (
	"context"
	"errors"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// A Store keeps one record under compare-and-set. Reads are quorum reads.
type Store interface {
	// Get returns the record and its version. ErrAbsent: the store answered that there is none. ErrBroken (with the version): there is something that
	// cannot be read.
	Get(ctx context.Context) (record.Record, string, error)
	// Create stores the first record. ErrConflict: there is one.
	Create(ctx context.Context, r record.Record) (string, error)
	// Replace stores r if the store is still at version. ErrConflict: it is not; ErrAbsent: the record is gone.
	Replace(ctx context.Context, version string, r record.Record) (string, error)
}

// What a store can answer besides success. Every other error means that it is not known what happened.
var (
	ErrAbsent   = errors.New("the store has no record")
	ErrConflict = errors.New("the record is not at the version that was to be replaced")
	ErrBroken   = errors.New("the store's record cannot be understood")
)
