package keeping

import (
	"context"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
)

const (
	// muteEvery is between two questions to an upstream that sends nothing.
	muteEvery = 30 * time.Second
	// twice: a receiver that is refused is there for a moment with each try, and one look may meet that moment.
	twice = 2
)

// mute is what a standby knows of an upstream that it is told to stream from and that sends it nothing.
type mute struct {
	upstream grant.Upstream
	since    boottime.Instant // 0: it streams, or is to stream from nobody
	streams  int              // looks in a row that saw it stream
	asked    boottime.Instant
	// refusal is what the upstream's server says, problem why it could not be asked.
	refusal, problem string
}

// look takes in one look at the server.
func (m mute) look(now boottime.Instant, s pg.Status, g *grant.Grant) mute {
	if g == nil || g.Role != grant.Replica || g.Upstream == nil || !s.InRecovery {
		return mute{}
	}
	if m.upstream != *g.Upstream {
		m = mute{upstream: *g.Upstream}
	}
	if m.streams++; !s.Receiver.Streaming() {
		m.streams = 0
	}
	switch {
	case m.streams >= twice:
		return mute{upstream: m.upstream, streams: m.streams}
	case m.since == 0 && m.streams == 0:
		m.since = now
	}
	return m
}

// due reports whether the upstream is to be asked why.
func (m mute) due(now boottime.Instant) bool {
	return m.since != 0 && now.Sub(m.since) >= judge.MuteAfter && (m.asked == 0 || now.Sub(m.asked) >= muteEvery)
}

// listen finds out why a standby that is told to stream from somebody receives nothing: it asks as the standby does, and gets the answer that
// otherwise stands in two servers' logs only.
func (k *Keeper) listen(ctx context.Context, s pg.Status, now boottime.Instant) {
	m := k.look().mute.look(now, s, k.issuer.previous())
	if m.due(now) && s.Replayed != nil {
		tls := func(name string) string { return filepath.Join(k.o.TLS, name) }
		up := pg.Upstream{
			Host: m.upstream.Host, Address: m.upstream.Address, Port: m.upstream.Port, User: pgconf.ReplicationRole, ApplicationName: "pgspan_keeper",
			CA: tls("ca.crt"), Cert: tls("replication.crt"), Key: tls("replication.key"),
		}
		m.asked, m.refusal, m.problem = now, "", ""
		var err error
		if m.refusal, err = pg.Refusal(ctx, up, s.Timeline, *s.Replayed, s.SegmentSize); err != nil {
			m.problem = err.Error()
		}
	}
	k.change(func(n *known) { n.mute = m })
}
