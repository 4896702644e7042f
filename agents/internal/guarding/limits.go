package guarding

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
)

// limitsEvery is the least time between two looks at what a running standby must have no less of than its leader.
const limitsEvery = 3 * time.Second

// limits sees that a standby's configuration follows what its leader has: replay writes the leader's values into the control file, before it
// pauses because the server's own are lower. What is rendered then, and waits for a restart, is what the next start needs; and what was
// raised for a leader that has less now is no longer.
func (g *Guard) limits(ctx context.Context, l *life) {
	now := boottime.Now()
	if l.kind != grant.Standby || l.stopping || !l.up || l.ready.Data.Control == nil || now.Before(l.limitsAt) {
		return
	}
	l.limitsAt = now.Add(limitsEvery)
	info, err := os.Stat(filepath.Join(g.paths.Data(), "global", "pg_control"))
	if err != nil || info.ModTime().Equal(l.controlAt) {
		return
	}
	var c pgdata.Control
	err = g.reaper.Aside(func() (err error) {
		c, err = pgdata.ReadControl(ctx, l.ready.Tools, g.paths.Data())
		return err
	})
	if err != nil { // it may have been read while it was written
		g.log.Debug("control file of the running standby not read", "error", err.Error())
		return
	}
	l.controlAt = info.ModTime()
	if maps.Equal(c.Limits, l.ready.Data.Control.Limits) {
		return
	}
	g.log.Info("the leader's limits have changed", "limits", c.Limits)
	known := *l.ready.Data.Control
	known.Limits = c.Limits
	l.ready.Data.Control = &known
	g.sources.due = true
}

// rendered reports what the configuration in place was rendered from.
func (g *Guard) rendered(settings string, raised []string) {
	if now := g.report.Current(); now.Settings == settings && slices.Equal(now.Raised, raised) {
		return
	}
	g.report.Update(func(s *grant.State) { s.Settings, s.Raised = settings, raised })
}
