package guarding

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

const (
	// diskEvery is between two writes, diskSlow after how long one that is not finished is reported.
	diskEvery = 5 * time.Second
	diskSlow  = time.Second
	// diskFile is beside the notes: whoever may write there may write this, and nobody reads it.
	diskFile = "disk"
)

// tryDisk writes to the volume again and again, in a goroutine of its own, which a volume that hangs may keep for ever. It judges nothing:
// keeper does, and neither guard's fence nor its proofs look at it.
func (g *Guard) tryDisk(ctx context.Context) {
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		if d, tried := g.writeDisk(); tried {
			g.report.Update(func(s *grant.State) { s.Disk = &d })
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// writeDisk tries once. Before there are notes the volume is nobody's, and is left alone.
func (g *Guard) writeDisk() (d grant.Disk, tried bool) {
	began := boottime.Now()
	slow := time.AfterFunc(diskSlow, func() {
		g.report.Update(func(s *grant.State) {
			var d grant.Disk
			if s.Disk != nil {
				d = *s.Disk
			}
			if d.At < began { // not finished meanwhile
				d.Since = began
				s.Disk = &d
			}
		})
	})
	err := writeSynced(filepath.Join(g.paths.Notes(), diskFile))
	slow.Stop()
	if errors.Is(err, fs.ErrNotExist) {
		return grant.Disk{}, false
	}
	d.At = boottime.Now()
	d.Seconds = d.At.Sub(began).Seconds()
	if err != nil {
		d.Problem = err.Error()
	}
	return d, true
}

// writeSynced writes over one page, which takes no room but the first time, and waits until it is on disk.
func writeSynced(name string) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closing := f.Close(); err == nil {
			err = closing
		}
	}()
	page := make([]byte, 4096)
	copy(page, fmt.Sprintf("written every %s to see that the volume answers\n%d\n", diskEvery, boottime.Now()))
	if _, err := f.WriteAt(page, 0); err != nil {
		return err
	}
	return f.Sync()
}
