package keeping

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	roomEvery = time.Second
	// wherever the size of WAL segments is not known
	usualSegment = 16 << 20
)

// A server that needs another segment of WAL and finds no room ends at once. leastRoom is where a leader stops before that, roomToLead what a
// member must have to be promoted, and a full one before it writes again.
func leastRoom(segment int64) uint64  { return uint64(segment) + 16<<20 }
func roomToLead(segment int64) uint64 { return 2 * leastRoom(segment) }

// segment is the size of the server's WAL files.
func (n known) segment() int64 {
	if n.status != nil && n.status.SegmentSize > 0 {
		return n.status.SegmentSize
	}
	return max(n.segmentSeen, usualSegment)
}

// watchRoom looks how much room the volume has. It has a goroutine of its own, since a volume may hang.
func (k *Keeper) watchRoom(ctx context.Context) {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(k.o.Volume, &st)
		filled := false
		k.change(func(n *known) {
			if err != nil {
				n.free, n.size = nil, nil
				return
			}
			free, size := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
			n.free, n.size = &free, &size
			n.segmentSeen = n.segment()
			was := n.crammed
			n.crammed = crammed(was, free, n.segmentSeen)
			filled = n.crammed && !was
		})
		if filled {
			k.careWake.up() // its own look ends with this one, and may be past
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(k.loops.pause(roomEvery)):
		}
	}
}

// crammed reports whether a volume is full, or still is: what was freed must last for more than a moment.
func crammed(was bool, free uint64, segment int64) bool {
	if was {
		return free < roomToLead(segment)
	}
	return free < leastRoom(segment)
}

// full is the sentence about it; empty: there is room. It names no figure that changes.
func (n known) full() string {
	if !n.crammed {
		return ""
	}
	return fmt.Sprintf("its volume is full: less than %d MiB were left", leastRoom(n.segment())>>20)
}
