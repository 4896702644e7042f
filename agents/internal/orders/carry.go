package orders

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/peers"
)

const (
	// lookEvery is between two looks whether it has come true, giveEvery between two tries to give the order.
	lookEvery = 200 * time.Millisecond
	giveEvery = 500 * time.Millisecond
)

// Exit codes of the binary.
const (
	ExitDone    = 0
	ExitFailed  = 1
	ExitUsage   = 2
	ExitRefused = 3
	ExitTimeout = 4
)

// Result is how an order ended: one sentence and an exit code.
type Result struct {
	Code     int
	Sentence string
}

// Carry gives an order and, if wait is set, looks until it has come true. ctx's deadline is the end of all of it. The same order may be
// given many times on the way: its id makes it one.
func (s *Site) Carry(ctx context.Context, verb peers.Verb, o peers.Order, wait bool) Result {
	var last string
	for {
		r, err := s.give(ctx, verb, &o)
		switch {
		case err == nil && r.State == peers.Refused:
			return Result{ExitRefused, fmt.Sprintf("%s refused: %s", verb, r.Reason)}
		case err == nil && r.State == peers.Would:
			return Result{ExitDone, "dry run: " + r.Reason}
		case err == nil && r.State == peers.Accepted && !wait:
			return Result{ExitDone, "accepted: " + r.Reason}
		case err == nil && r.State == peers.Done && (!wait || verb == peers.Switchover || verb == peers.Rollout):
			return Result{ExitDone, r.Reason}
		case errors.Is(err, peers.ErrUnknown):
			return Result{ExitRefused, fmt.Sprintf("%s refused: the leader's keeper is of a release that cannot do that", verb)}
		case err == nil && (r.State == peers.Accepted || r.State == peers.Done), err == nil && verb == peers.Resume:
			return s.await(ctx, verb, o)
		case err == nil:
			last = r.Reason
		case ctx.Err() == nil: // otherwise only that the time was over
			last = err.Error()
		}
		if !pause(ctx, giveEvery) {
			return Result{ExitTimeout, fmt.Sprintf("%s: not taken by a leader in time: %s", verb, last)}
		}
	}
}

// give looks who leads and gives the order to it. An intent is for the epoch of the first look, however often it is given.
func (s *Site) give(ctx context.Context, verb peers.Verb, o *peers.Order) (peers.Receipt, error) {
	v, err := s.Look(ctx)
	if err != nil {
		return peers.Receipt{}, err
	}
	if o.Epoch.IsZero() && verb == peers.Switchover {
		o.Epoch = v.present()
	}
	if _, leads := v.Leader(); !leads && (verb == peers.Resume || verb == peers.Unfence) {
		return s.GiveAll(ctx, v, verb, *o) // each keeper lifts it for itself
	}
	return s.Give(ctx, v, verb, *o)
}

func (s *Site) await(ctx context.Context, verb peers.Verb, o peers.Order) Result {
	last := "nothing was heard"
	for {
		v, err := s.Look(ctx)
		if err != nil {
			if ctx.Err() == nil {
				last = err.Error()
			}
		} else {
			outcome, sentence := Observed(v, verb, o)
			switch outcome {
			case Done:
				return Result{ExitDone, sentence}
			case Refused:
				return Result{ExitRefused, fmt.Sprintf("%s refused: %s", verb, sentence)}
			case Stopped:
				return Result{ExitFailed, fmt.Sprintf("%s: %s", verb, sentence)}
			}
			if sentence != last && s.Progress != nil {
				s.Progress(sentence)
			}
			last = sentence
		}
		if !pause(ctx, lookEvery) {
			return Result{ExitTimeout, fmt.Sprintf("%s: given, and not seen to be done in time: %s", verb, last)}
		}
	}
}

// pause waits, and reports false when the time is over.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return !errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
}
