package keeping

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

const (
	// pulseEvery is between two questions to a server that answers, filesEvery between two looks at its files.
	pulseEvery = 2 * time.Second
	filesEvery = 2 * time.Second
	// diskAge is how old guard's last write may be, diskQuick what it may have taken, for a volume to count as well.
	diskAge   = 20 * time.Second
	diskQuick = time.Second
)

// pulse waits for the server's answers over one session that stays. It has a goroutine of its own, since an answer may never come.
func (k *Keeper) pulse(ctx context.Context) {
	p := pg.NewPulse(k.where)
	defer p.Close()
	for {
		n := k.look()
		if n.state == nil || n.state.Server == grant.Down && !n.standsStale() {
			p.Close()
		} else if p.Beat(ctx) == nil {
			k.change(func(n *known) { n.pulseAt = boottime.Now() })
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(k.loops.pause(pulseEvery)):
		}
	}
}

// watchFiles notices that the server still does something, whoever it answers: its newest WAL is written to, or its control file. It has a
// goroutine of its own, since a volume may hang.
func (k *Keeper) watchFiles(ctx context.Context) {
	var last time.Time
	for {
		if k.view().Mine { // nobody else asks
			if changed := newest(layout.In(k.o.Volume).Data()); !changed.Equal(last) {
				last = changed
				k.change(func(n *known) { n.filesAt = boottime.Now() })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(k.loops.pause(filesEvery)):
		}
	}
}

// newest is when the newest of the server's WAL, or its control file, was written. Only a difference to before counts: it is wall time.
func newest(data string) (at time.Time) {
	look := func(name string) {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	look(filepath.Join(data, "global", "pg_control"))
	wal := filepath.Join(data, "pg_wal")
	entries, err := os.ReadDir(wal)
	if err != nil {
		return at
	}
	for _, e := range entries {
		look(filepath.Join(wal, e.Name()))
	}
	return at
}

// diskWell: guard's last write to the volume is done, was quick, and is not long ago.
func diskWell(n known, now boottime.Instant) bool {
	if n.state == nil || n.standsStale() || n.state.Disk == nil {
		return false
	}
	d := n.state.Disk
	return d.Since == 0 && d.Problem == "" && d.At != 0 && now.Sub(d.At) <= diskAge && d.Seconds <= diskQuick.Seconds()
}

// reached is how far the server said last that its WAL is on disk; 0: it never did.
func (n known) reached() (at lsn.LSN) {
	if n.status == nil {
		return 0
	}
	for _, l := range []*lsn.LSN{n.status.Received, n.status.Replayed, n.status.Flushed} {
		if l != nil {
			at = max(at, *l)
		}
	}
	return at
}
