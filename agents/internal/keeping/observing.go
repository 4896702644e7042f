package keeping

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// askTime bounds one turn of questions to the server.
const askTime = 3 * time.Second

// observeEvery: each second; quicker while a promotion is awaited, because the Service for writing follows it.
func (k *Keeper) observeEvery() time.Duration {
	n := k.look()
	if free(k.view(), boottime.Now()) {
		return 50 * time.Millisecond // this member votes, and clients wait
	}
	if s := n.freshStatus(boottime.Now()); k.issuer.inForce() && (s == nil || s.InRecovery) && n.state != nil && n.state.Server != grant.Down {
		return 100 * time.Millisecond
	}
	return time.Second
}

// observeServer asks the server over one session, and as the leader keeps its slots.
func (k *Keeper) observeServer() func(context.Context) error {
	o := pg.NewObserver(k.where)
	var slotsAt, figuresAt boottime.Instant
	rate := rates{}
	var prober prober
	var durable durableEnd
	var told told
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		if n := k.look(); n.state == nil || n.state.Server == grant.Down && !n.standsStale() {
			o.Close() // there is no server to ask
			k.change(func(n *known) { n.status, n.figures = nil, nil })
			figuresAt = 0
			return nil
		}
		s, err := o.Status(ctx)
		if err != nil {
			if pg.Answered(err) {
				k.change(func(n *known) { n.pulseAt = boottime.Now() })
			}
			n := k.look()
			if n.state.Phase != grant.Running || n.freshStatus(boottime.Now()) != nil {
				return nil // it starts, or ends: no answer is what is expected
			}
			return err
		}
		if s.InRecovery && s.Receiver == nil && s.Replayed != nil {
			// The control file learns a standby's timeline at its next restart point only.
			if line, err := pgdata.LineAt(layout.In(k.o.Volume).Data(), *s.Replayed, s.SegmentSize); err == nil {
				s.Timeline = line
			}
		}
		now := boottime.Now()
		var was *pg.Status
		k.change(func(n *known) { was = n.freshStatus(now); n.status, n.statusAt, n.pulseAt = &s, now, now })
		k.noteStranger(s, now)
		k.listen(ctx, s, now)
		if was == nil || was.InRecovery != s.InRecovery || was.Timeline != s.Timeline {
			k.log.Info("server answers", "recovery", s.InRecovery, "timeline", s.Timeline)
			k.publishWake.up()
			slotsAt = 0
		}
		end := s.Current
		if end == nil {
			end = s.Replayed
		}
		if r := rate.add(now, end); r != nil {
			k.change(func(n *known) { n.walRate = r })
		}
		if s.Flushed != nil {
			k.change(func(n *known) {
				if *s.Flushed != n.flushed {
					n.flushed, n.flushedAt = *s.Flushed, now
				}
			})
		}
		v := k.view()
		leading := v.InForce(now) && !s.InRecovery
		leading = leading && s.Flushed != nil
		if leading {
			k.tellRecord(v.Record.Epoch, func(n *news) { n.lsn, n.systemID = durable.of(v.Record.Reign).add(*s.Inserted, *s.Flushed), s.SystemID })
			if err := k.opened(v, s.Timeline); err != nil {
				return err
			}
		}
		if free(v, now) {
			if err := k.probe(ctx, o, &prober); err != nil {
				return err
			}
		}
		if slotsAt == 0 || now.Sub(slotsAt) >= 5*time.Second {
			slotsAt = now
			if err := k.observeReplication(ctx, o, v, leading); err != nil {
				return err
			}
		}
		rendered := told.look(now, k.look().state)
		if figuresAt == 0 || now.Sub(figuresAt) >= figuresEvery(s, v.Record) || rendered != k.look().figured {
			figuresAt = now
			f, err := o.Figures(ctx)
			if err != nil {
				return err
			}
			k.tellUnusable(f.Unusable)
			k.change(func(n *known) { n.figures, n.figured = &f, rendered })
		}
		return nil
	}
}

// opened tells the record that this leader has opened on its timeline, and how that came about.
func (k *Keeper) opened(v lease.View, line uint32) error {
	if v.Record.Opened == v.Record.Timeline || line != v.Record.Timeline {
		return nil
	}
	text, err := k.history(line)
	if err != nil {
		return err
	}
	lines, err := timeline.ParseHistory(text)
	if err != nil {
		return err
	}
	k.tellRecord(v.Record.Epoch, func(n *news) { n.opened, n.lines = line, lines })
	k.loop.Load().Nudge()
	return nil
}

// standsStale: guard is not heard, so its word that no server runs is not taken.
func (n known) standsStale() bool { return boottime.Now().Sub(n.state.Beat) > stateAge }

func (k *Keeper) observeReplication(ctx context.Context, o *pg.Observer, v lease.View, leading bool) error {
	senders, err := o.Senders(ctx)
	if err != nil {
		return err
	}
	slots, err := o.Slots(ctx)
	if err != nil {
		return err
	}
	k.change(func(n *known) { n.senders, n.slots = senders, slots })
	var wanted []record.Member
	switch {
	case leading:
		wanted = v.Record.Known()
	case v.Known != lease.Present || v.Mine:
		return nil // it may lead, and not be there yet
	}
	create, drop := k.slots.Next(boottime.Now(), wanted, k.me().Member, slots)
	var problems []error
	for _, name := range drop {
		k.log.Info("slot dropped", "slot", name)
		problems = append(problems, o.DropSlot(ctx, name))
	}
	for _, name := range create {
		k.log.Info("slot created", "slot", name)
		problems = append(problems, o.CreateSlot(ctx, name))
	}
	return errors.Join(problems...)
}

// pageHeader is the most that may lie between the end of one record and the beginning of the next: the longer one of WAL's two page headers.
const (
	pageHeader = 40
	walPage    = 8192 // as all packages of PostgreSQL are built
)

// durableEnd finds the end of a record that is on disk. What is flushed may end within a record, and a crash would leave that one out.
type durableEnd struct {
	inserted, told lsn.LSN
	reign          string
}

// of begins anew in another reign: what an earlier one had on disk may have been given up since.
func (d *durableEnd) of(reign string) *durableEnd {
	if d.reign != reign {
		*d = durableEnd{reign: reign}
	}
	return d
}

func (d *durableEnd) add(inserted, flushed lsn.LSN) lsn.LSN {
	for _, next := range []lsn.LSN{inserted, d.inserted} {
		// next is where a record begins; the one before may end by a page header earlier.
		end := next - min(next, pageHeader)
		if page := next / walPage * walPage; next-page <= pageHeader {
			end = page
		}
		if next <= flushed || end <= flushed && end%walPage == 0 {
			d.told = max(d.told, end)
			break
		}
	}
	d.inserted = inserted
	return d.told
}

// rates measures WAL per second over about a minute.
type rates struct {
	at  []boottime.Instant
	end []lsn.LSN
}

func (r *rates) add(now boottime.Instant, end *lsn.LSN) *float64 {
	const step, keep = 10 * time.Second, 7
	if end == nil || len(r.at) > 0 && now.Sub(r.at[len(r.at)-1]) < step {
		return nil
	}
	if n := len(r.end); n > 0 && *end < r.end[n-1] {
		r.at, r.end = nil, nil // another timeline, or another server: nothing can be said yet
	}
	r.at, r.end = append(r.at, now), append(r.end, *end)
	if len(r.at) > keep {
		r.at, r.end = r.at[1:], r.end[1:]
	}
	if len(r.at) == 1 {
		return nil
	}
	took := now.Sub(r.at[0]).Seconds()
	rate := float64(end.Sub(r.end[0])) / took
	return &rate
}

// measure looks at the certificates.
func (k *Keeper) measure(context.Context) error {
	days, err := certificateDays(k.o.TLS, time.Now())
	k.change(func(n *known) { n.certificates = days })
	return err
}

// certificateDays returns the days until the first certificate of each *.crt file expires. No directory: TLS files are not mounted here.
func certificateDays(dir string, now time.Time) (map[string]float64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	out := map[string]float64{}
	var problems []error
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // replaced at this moment
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("read certificate: %w", err))
			continue
		}
		block, _ := pem.Decode(b)
		if block == nil {
			problems = append(problems, fmt.Errorf("read certificate %s: it is no PEM file", filepath.Base(file)))
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			problems = append(problems, fmt.Errorf("read certificate %s: %w", filepath.Base(file), err))
			continue
		}
		out[strings.TrimSuffix(filepath.Base(file), ".crt")] = c.NotAfter.Sub(now).Hours() / 24
	}
	return out, errors.Join(problems...)
}
