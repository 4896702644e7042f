package guarding

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/pgspan/pgspan/agents/internal/fence"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

// How often the grant is looked for when no notification comes. A watch is a hint: one that has missed a grant is not trusted again.
const (
	trusting = time.Second
	poll     = 100 * time.Millisecond
)

// grants reads what keeper grants and prolongs the fence's deadline, in a goroutine of its own: a renewal must not wait for whatever the
// rest of guard does with the volume. It touches nothing but the control directory, which is memory.
type grants struct {
	dir   string
	me    grant.Incarnation
	fence *fence.Fence
	log   *slog.Logger

	newest atomic.Pointer[grant.Grant] // the newest accepted one
	reign  atomic.Pointer[Reign]       // of the server that the fence guards
	fresh  chan struct{}               // one value when newest has changed

	seen uint64 // highest sequence number accepted
	told string // why the last one was not accepted, so that it is logged once
	file os.FileInfo
}

func newGrants(dir string, me grant.Incarnation, seen uint64, f *fence.Fence, log *slog.Logger) *grants {
	g := &grants{dir: dir, me: me, fence: f, log: log, seen: seen, fresh: make(chan struct{}, 1)}
	g.reign.Store(&Reign{})
	return g
}

// run reads until ctx ends.
func (g *grants) run(ctx context.Context) {
	// The directory is watched, not the file: keeper replaces the file by a rename.
	var events <-chan fsnotify.Event
	var problems <-chan error
	pause := poll
	if w, err := fsnotify.NewWatcher(); err == nil {
		defer w.Close()
		if err := w.Add(g.dir); err == nil {
			events, problems, pause = w.Events, w.Errors, trusting
		}
	}
	g.read()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	untold := false // the last look found a grant that no notification has told of yet: it may be on its way
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			// The state file is in the same directory and changes far more often.
			if filepath.Base(e.Name) == grant.File {
				untold = false
				g.read()
			}
		case err := <-problems:
			g.log.Debug("watch of grants reported a problem", "reason", err)
			g.read() // notifications may have been lost
		case <-tick.C:
			if untold && pause != poll {
				pause = poll
				tick.Reset(pause)
				g.log.Warn("no notification came of a new grant, it is looked for more often", "every", pause.String())
			}
			untold = g.read()
		}
	}
}

// read takes the file as it is now and reports whether it is another one than before. What cannot be read or understood is no new grant;
// the one before goes on until its deadline.
func (g *grants) read() bool {
	info, err := os.Stat(filepath.Join(g.dir, grant.File))
	if err == nil && g.file != nil && os.SameFile(info, g.file) && info.ModTime().Equal(g.file.ModTime()) {
		return false
	}
	next, err := grant.Read(g.dir)
	if errors.Is(err, grant.ErrNone) {
		return false
	}
	if err != nil {
		g.tell(err.Error())
		return false
	}
	g.file = info
	if ok, why := Accept(next, g.me, g.seen); !ok {
		g.tell(why)
		return true
	}
	g.told = ""
	g.seen = next.Seq
	g.newest.Store(&next)
	g.renew()
	select {
	case g.fresh <- struct{}{}:
	default:
	}
	return true
}

func (g *grants) tell(why string) {
	if why != g.told {
		g.told = why
		g.log.Warn("grant does not count", "reason", why)
	}
}

// renew brings the newest grant's deadline to the fence, if it is one for the present reign.
func (g *grants) renew() {
	newest := g.newest.Load()
	if newest == nil {
		return
	}
	if deadline, ok := Renewal(*newest, *g.reign.Load()); ok {
		g.fence.Extend(deadline)
	}
}

// begin arms the fence for a server that is about to be primary.
func (g *grants) begin(r Reign, first grant.Grant) {
	g.reign.Store(&r)
	g.fence.Arm(first.Deadline)
	g.renew() // what came between first and the new reign
}

// end is called when the fence was disarmed.
func (g *grants) end() { g.reign.Store(&Reign{}) }
