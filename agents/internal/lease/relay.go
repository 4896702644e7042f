package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// relayTime bounds the attempt of a leader to have others write what it cannot.
const relayTime = 1500 * time.Millisecond

// Relay is how a holder that the store does not answer has the last version of its record written by another member: r in place of version. It
// returns the version that the store made of it.
type Relay func(ctx context.Context, version string, r record.Record) (made string, err error)

// Write is the other side of a Relay: it writes the end of another member's reign for it, by the compare-and-set that the holder would make itself.
// The holder's right has ended before it asked, so this is its own late write by another way, and a write of its own that was under way makes
// one of the two fail.
func (l *Loop) Write(ctx context.Context, version string, r record.Record) (made string, err error) {
	err = l.order(ctx, order{what: write, version: version, record: r, made: &made})
	return made, err
}

// writeFor carries out Write.
func (l *Loop) writeFor(ctx context.Context, o order) error {
	if l.View().Version != o.version || l.unsure { // the holder may have renewed since this member looked
		if err := l.look(ctx); err != nil {
			return err
		}
	}
	switch v := l.View(); {
	case v.Known != Present || v.Version != o.version:
		return ErrStale
	case v.Mine:
		return errors.New("write the record for another member: this incarnation holds it")
	case !o.record.Free() || o.record.Holder != v.Record.Holder || o.record.Epoch != v.Record.Epoch || o.record.Reign != v.Record.Reign:
		return errors.New("write the record for another member: it is not the end of the reign that the record tells of")
	}
	made, err := l.write(ctx, o.version, o.record)
	if err != nil {
		_ = l.look(ctx) // if it fails, the next turn looks again
		return fmt.Errorf("write the record for another member: %w", err)
	}
	l.saw(o.record, made, nil)
	*o.made = made
	return nil
}

// relayed has somebody else write next in place of version after the store gave no answer to err's write, or turned this keeper away.
func (l *Loop) relayed(ctx context.Context, version string, next record.Record, err error) (string, error) {
	if l.relay == nil || errors.Is(err, ErrConflict) || errors.Is(err, ErrAbsent) || errors.Is(err, ErrBroken) {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	made, relayErr := l.relay(ctx, version, next)
	if relayErr != nil {
		return "", fmt.Errorf("%w; nor by another member: %w", err, relayErr)
	}
	l.unsure = false
	return made, nil
}
