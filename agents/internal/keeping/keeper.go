// Package keeping is keeper at work: it holds or watches the lease, looks at its server and its peers, has the judge decide, tells guard by
// the grant, and publishes what is true. Each concern is a loop of its own, and a panic in one of them ends that turn and nothing else. The
// lease's loop shares nothing with the others but values.
package keeping

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/members"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/publish"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/renewal"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// Options is what keeper is told once.
type Options struct {
	Version   string
	Pod       string
	PodUID    string
	PodIP     string
	Node      string
	Namespace string
	// BornPrimary: an empty volume of this pod may become the first primary.
	BornPrimary bool
	Timing      lease.Timing
	SlotTTL     time.Duration

	// Probe is the Service for writing, host:port, that the leader makes a write through each ProbeEvery, and asks all servers whether they write. An
	// empty Probe: no write; no ProbeEvery: neither.
	Probe      string
	ProbeEvery time.Duration

	// PeersListen is where the other keepers are answered.
	PeersListen string

	Control, Socket, Settings, TLS, Users string
	// Volume is where the pod's volume is mounted, read-only.
	Volume string

	// Lease and API are two clients, so that a slow list never delays a renewal.
	Lease, API *kube.Client
	// Certificates are renewed by the leader; nil when others do that.
	Certificates *renewal.Renewal
	Log          *slog.Logger
}

// Keeper is one process.
type Keeper struct {
	o        Options
	log      *slog.Logger
	settings settings.Settings // as they were when the process began
	// settingsFile has them as they are now.
	settingsFile *settings.Reader
	boot         string
	started      boottime.Instant
	issuer       *issuer
	where        pg.Where
	events       *publish.Events
	loops        *loops
	// peers asks the other keepers, server answers them.
	peers  *peers.Client
	server *peers.Server
	// votingSince is when this member's vote on the present record came into force, while the store answers; the judge's own.
	votingSince boottime.Instant
	// memberList is used by the survey alone.
	memberList members.List
	// slots is used by the observing loop alone.
	slots members.Slots

	loop     atomic.Pointer[lease.Loop] // nil until the API has said which member this is
	draining atomic.Bool
	ended    chan struct{}
	endOnce  sync.Once

	mu    sync.Mutex
	known known

	tellMu   sync.Mutex // while news are told; memoMu and mu may be taken inside
	memoMu   sync.Mutex // while the memo is written; mu may be taken inside
	memoLast memo

	judgeWake, observeWake, publishWake, surveyWake, electWake, handWake, syncWake, pleaWake, beatWake, careWake, rollWake, traceWake wake
}

// New reads what does not change and adopts what an earlier process left.
func New(o Options) (*Keeper, error) {
	file := &settings.Reader{Dir: o.Settings}
	s, err := file.Read()
	if err != nil {
		return nil, err
	}
	if err := s.Failover.Fits(o.Timing.Duration); err != nil {
		return nil, err
	}
	boot, err := boottime.BootID()
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		o: o, log: o.Log, settings: s, settingsFile: file, boot: boot, memberList: members.List{TTL: o.SlotTTL}, slots: members.Slots{TTL: o.SlotTTL}, started: boottime.Now(), ended: make(chan struct{}), loops: newLoops(o.Log),
		where:     pg.Where{SocketDir: o.Socket, Port: s.Port},
		events:    publish.NewEvents(o.Pod, o.PodUID, o.Log),
		judgeWake: newWake(), observeWake: newWake(), publishWake: newWake(), surveyWake: newWake(), electWake: newWake(), handWake: newWake(), syncWake: newWake(), pleaWake: newWake(), beatWake: newWake(), careWake: newWake(), rollWake: newWake(), traceWake: newWake(),
	}
	k.peers = peers.NewClient(peers.ClientOptions{TLSDir: o.TLS, Log: o.Log})
	k.server = peers.New(peers.Options{Listen: o.PeersListen, TLSDir: o.TLS, Standing: k.Standing, Promise: k.promise, Relay: k.writeFor, Nudge: k.Nudged, Order: k.Order, Status: k.SiteStatus, Log: o.Log})
	k.known.mode, k.known.adopt = s.Synchronous, s.Bootstrap.Adopt
	me := grant.Incarnation{Pod: o.PodUID, Boot: boot}
	state, err := grant.ReadState(o.Control)
	if err != nil && !errors.Is(err, grant.ErrNone) {
		k.log.Warn("state not readable", "error", err)
	}
	k.issuer = newIssuer(o.Control, me, state.Seq, k.log)
	if p := k.issuer.previous(); p != nil {
		k.known.member, k.known.unfenced = p.Holder.Member, p.Unfenced
		if k.issuer.inForce() {
			if k.known.recalled, err = recall(o.Control, *p); err != nil {
				k.log.Warn("what an earlier process knew of the record is not readable", "error", err)
			}
			if m := k.known.recalled; m != nil {
				k.known.memo, k.known.covered = *m, m.Covered
			}
		}
		k.log.Info("grant of an earlier process adopted", "seq", p.Seq, "role", p.Role, "epoch", p.Epoch.String())
	}
	return k, nil
}

// Drain says that the pod ends: once the server is proven down, and the record given back if that can be done, Run returns.
func (k *Keeper) Drain() {
	if !k.draining.Swap(true) {
		k.log.Info("told to end; going on until the server is down")
	}
	k.judgeWake.up()
}

// Run works until it was drained, or ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	run := func(name string, every func() time.Duration, w wake, turn func(context.Context) error) {
		all.Go(func() { k.loops.run(ctx, name, every, w, turn) })
	}
	run("survey", k.surveyEvery, k.surveyWake, k.survey)
	run("observe", k.observeEvery, k.observeWake, k.observeServer())
	run("figures", always(10*time.Second), nil, k.measure)
	run("judge", k.judgeEvery, k.judgeWake, k.judgeOnce)
	run("elect", k.electEvery, k.electWake, k.electing())
	run("hand over", always(500*time.Millisecond), k.handWake, k.handing())
	run("fail back", always(returnEvery), nil, k.returning())
	run("rollout", always(time.Second), k.rollWake, k.rolling())
	run("synchronous", k.syncEvery, k.syncWake, k.synchronous())
	run("hear", always(hearEvery), nil, k.hearing())
	run("failsafe", always(pleaEvery), k.pleaWake, k.failsafe())
	run("care", always(careEvery), k.careWake, k.caring())
	run("beat", always(beatEvery), k.beatWake, k.beating())
	run("settings", always(checkEvery), nil, k.checking())
	run("transition", k.traceEvery, k.traceWake, k.tracing())
	run("publish", always(5*time.Second), k.publishWake, k.publisher())
	run("accounts", always(5*time.Second), nil, k.accounts())
	run("volumes", always(volumesEvery), nil, k.growVolumes())
	if k.o.ProbeEvery > 0 {
		run("second line", k.probeEvery, nil, k.probing())
	}
	if c := k.o.Certificates; c != nil {
		// Two thirds of a certificate's life leave months: a turn that fails is no hurry.
		run("certificates", always(10*time.Minute), nil, func(ctx context.Context) error { return c.Turn(ctx, k.issuer.inForce) })
	}
	all.Go(func() { k.watchControl(ctx) })
	all.Go(func() { k.pulse(ctx) })
	all.Go(func() { k.watchFiles(ctx) })
	all.Go(func() { k.watchRoom(ctx) })
	all.Go(func() { _ = k.events.Run(ctx, k.o.API) })
	all.Go(func() { k.lease(ctx) })
	all.Go(func() { k.server.Run(ctx) })
	select {
	case <-ctx.Done():
	case <-k.ended:
	}
	cancel()
	all.Wait()
	return nil
}

// lease starts the lease loop as soon as this member's id is known.
func (k *Keeper) lease(ctx context.Context) {
	for {
		if me := k.me(); me.Member != "" {
			o := lease.Options{
				Store: lease.NewKubernetes(k.o.Lease, k.settings.Release, k.labels()), Me: me, Timing: k.o.Timing,
				Relay: func(ctx context.Context, version string, r record.Record) (string, error) {
					return k.peers.Relay(ctx, r.Members, version, r)
				},
				Changed: func(v lease.View) {
					k.issuer.renewed(v)
					k.noteView(v)
				},
			}
			if p := k.issuer.previous(); p != nil && p.Role == grant.Primary && k.issuer.inForce() {
				o.Adopted = p.Deadline
				if m := k.look().recalled; m != nil {
					o.Recalled = &m.Record
				}
			}
			l := lease.New(o)
			k.loop.Store(l)
			l.Run(ctx)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// noteView wakes the others when the view has changed in more than its age.
func (k *Keeper) noteView(v lease.View) {
	k.mu.Lock()
	last := k.known.lastView
	k.known.lastView = viewKey{v.Known, v.Mine, v.InForce(boottime.Now()), v.Record.Epoch, v.Record.Free(), len(v.Record.Members), v.Record.Bootstrap != nil, v.Record.Opened, v.Trouble != ""}
	changed := last != k.known.lastView
	confirmed := v.Renewals != k.known.confirmed
	if n := &k.known; confirmed { // a late write of before meets a conflict now
		n.confirmed, n.news.lists = v.Renewals, nil
		if n.news.members != nil {
			n.news.lists = [][]record.Member{n.news.members}
		}
	}
	k.mu.Unlock()
	if confirmed && v.Mine {
		k.remember(&v.Record)
	}
	if changed && v.Mine && (last.epoch != v.Record.Epoch || last.opened != v.Record.Opened) {
		k.tellPeers(context.Background(), v.Record)
	}
	if changed {
		k.electWake.up()
		k.judgeWake.up()
		k.publishWake.up()
		k.observeWake.up()
		k.handWake.up()
		k.pleaWake.up()
	}
}

// view is what the lease loop knows.
func (k *Keeper) view() lease.View {
	if l := k.loop.Load(); l != nil {
		return l.View()
	}
	return lease.View{Problem: "which volume this pod has is not known yet"}
}

func (k *Keeper) me() grant.Incarnation {
	k.mu.Lock()
	defer k.mu.Unlock()
	return grant.Incarnation{Member: k.known.member, Pod: k.o.PodUID, Boot: k.boot}
}

func (k *Keeper) labels() map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       "pgspan",
		"app.kubernetes.io/managed-by": "pgspan-keeper",
		publish.LabelCluster:           k.settings.Release,
	}
}

func (k *Keeper) host(pod string) string {
	return members.Host(pod, k.settings.Release, k.o.Namespace, k.settings.ClusterDomain)
}

// Alive reports why keeper itself is stuck: its judge has not finished a turn for long. It depends on nobody else.
func (k *Keeper) Alive() error {
	const limit = 30 * time.Second
	if age := k.loops.age("judge"); age > limit {
		return fmt.Errorf("the judge has not finished a turn for %s", age.Round(time.Second))
	}
	return nil
}

// claimName is the pod's volume claim, as a StatefulSet names it.
func claimName(pod string) string { return "data-" + pod }
