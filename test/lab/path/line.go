// Package path makes the way between two sites long, narrow or lossy. The kernel of many machines lacks netem, so the
// packets take a detour: the router sends them into a device of ours, and we give them back later, or never. How much
// the device takes per second is the kernel's own token bucket.
package path

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/pgspan/pgspan/test/lab/fault"
	"golang.org/x/sync/errgroup"
)

const (
	// longestPacket is the most a device hands over at once.
	longestPacket = 65536
	// mostWaiting bounds the packets on a line, as a switch's buffer does: a gigabit over a tenth of a second.
	mostWaiting = 10_000
)

// Serve carries the packets of both directions until the context ends.
func Serve(ctx context.Context, from, to int, p fault.Path) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range []string{deviceName(from, to), deviceName(to, from)} {
		device, err := openTUN(name)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = device.Close() })
		defer stop()
		l := &line{waiting: make(chan packet, mostWaiting), path: p, random: rand.New(rand.NewPCG(uint64(from), uint64(to)))}
		group.Go(func() error { return l.take(device) })
		group.Go(func() error { return l.give(ctx, device) })
	}
	return group.Wait()
}

// packet is one packet and when it arrives.
type packet struct {
	data    []byte
	arrives time.Time
}

// line is one direction of a path.
type line struct {
	path    fault.Path
	random  *rand.Rand
	last    time.Time
	waiting chan packet
}

// take reads packets as they come and decides what becomes of them.
func (l *line) take(device *os.File) error {
	buffer := make([]byte, longestPacket)
	for {
		n, err := device.Read(buffer)
		if err != nil {
			return fmt.Errorf("read packet: %w", err)
		}
		arrives, lost := l.judge(time.Now())
		if lost {
			continue
		}
		p := packet{data: append([]byte(nil), buffer[:n]...), arrives: arrives}
		select {
		case l.waiting <- p:
		default:
			// The line is full; a real one drops packets then, too.
		}
	}
}

// judge says when a packet that enters the line now leaves it, and whether it is lost. Packets stay in order, as they do
// on a real line: a late one holds up those behind it.
func (l *line) judge(now time.Time) (arrives time.Time, lost bool) {
	if l.random.Float64() < l.path.Loss {
		return time.Time{}, true
	}
	spread := time.Duration((2*l.random.Float64() - 1) * float64(l.path.Jitter))
	arrives = now.Add(l.path.Delay + spread)
	if arrives.Before(l.last) {
		arrives = l.last
	}
	l.last = arrives
	return arrives, false
}

// give hands packets on when their time has come.
func (l *line) give(ctx context.Context, device *os.File) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-l.waiting:
			if wait := time.Until(p.arrives); wait > 0 {
				time.Sleep(wait)
			}
			// A packet the kernel does not take is a lost packet; a closed device is the end.
			if _, err := device.Write(p.data); errors.Is(err, os.ErrClosed) {
				return err
			}
		}
	}
}
