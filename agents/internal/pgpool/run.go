package pgpool

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/reaper"
)

// Runner keeps one pgpool running with files made from the chart's values and the mounted Secrets.
type Runner struct {
	Program string
	Config  Config
	Places  Places
	Users   string // see ReadAccounts
	TLS     string // the mounted Secret of certificates
	// Patience is how long the primary must be away before sessions are taken to the replicas.
	Patience time.Duration
	// Look is how often the Services are looked at, Refresh how often the mounted files.
	Look, Refresh time.Duration
	// StopWithin is how long transactions may take to end when pgpool is stopped or restarted.
	StopWithin time.Duration
	// Reaper starts pgpool and collects the orphans that a container's PID 1 inherits.
	Reaper *reaper.Reaper
	Log    *slog.Logger

	keys     *keyring
	accounts Accounts
	links    map[Role]*Link
	routes   map[Role]Route
	sights   map[Role]Sight
	pool     child
	serving  []byte            // the certificate and key that pgpool was started with
	restart  time.Time         // when pgpool is restarted at the latest; zero: not at all
	behind   laggards          // pgpool's children that have old passwords
	told     map[string]string // the last problem logged of each kind
}

// seen is one look at a Service.
type seen struct {
	role  Role
	sight Sight
	err   error
}

// Run runs pgpool until ctx ends (nil) or pgpool ends by itself (its error): the container's restart is then Kubernetes' work, with
// its back-off.
func (r *Runner) Run(ctx context.Context) error {
	r.told, r.sights, r.routes, r.links = map[string]string{}, map[Role]Sight{}, map[Role]Route{}, map[Role]*Link{}
	r.keys = &keyring{src: r.TLS, dst: r.Places.Keys}
	if err := r.keys.place(); err != nil {
		return err
	}
	if _, err := r.write(); err != nil {
		return err
	}
	// Not ctx: sessions go on while pgpool is drained.
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	looks := r.open(alive)
	for role := range r.links {
		if err := r.direct(alive, role, Route{Open: true, To: role}); err != nil {
			return err
		}
	}
	if err := r.start(); err != nil {
		return err
	}
	r.Log.Info("pgpool started", "children", r.Config.Children)
	refresh := time.NewTicker(r.Refresh)
	defer refresh.Stop()
	nudge := time.NewTicker(nudgeEvery)
	defer nudge.Stop()
	for {
		select {
		case <-ctx.Done():
			r.stop(alive, looks)
			return nil
		case <-r.pool.Done():
			return r.pool.ended()
		case look := <-looks:
			if err := r.note(alive, look); err != nil {
				return err
			}
		case <-refresh.C:
			if err := r.refresh(); err != nil {
				return err
			}
		case <-nudge.C:
			r.behind.nudge(r.Places.passwd())
		}
	}
}

// open makes the links and begins to look at the Services behind them.
func (r *Runner) open(ctx context.Context) <-chan seen {
	looks := make(chan seen)
	services := map[Role]*service{}
	limits := map[Role]time.Duration{Primary: primaryLimit, Replicas: replicasLimit}
	for _, role := range r.Config.roles() {
		services[role] = &service{backend: r.Config.backend(role), limit: limits[role], trust: r.keys.trust}
		r.links[role] = newLink(role, r.Places.linkSocket(role), services, r.Log)
		context.AfterFunc(ctx, r.links[role].shut)
	}
	for role, service := range services {
		go service.watch(ctx, r.Look, func(s Sight, err error) {
			select {
			case looks <- seen{role, s, err}:
			case <-ctx.Done():
			}
		})
	}
	return looks
}

// note takes in a look at a Service and directs the links by it.
func (r *Runner) note(ctx context.Context, look seen) error {
	if before, known := r.sights[look.role]; !known || before.Reached != look.sight.Reached {
		if look.sight.Reached {
			r.Log.Info("service reached", "service", look.role)
		} else {
			r.Log.Warn("service not reached", "service", look.role, "error", look.err)
		}
	}
	r.sights[look.role] = look.sight
	var replicas *Sight
	if s, ok := r.sights[Replicas]; ok {
		replicas = &s
		next, why := routeReplicas(r.routes[Replicas], s)
		if next != r.routes[Replicas] {
			r.Log.Warn("pgpool's replicas change", "used", next.Open, "reason", why)
		}
		if err := r.direct(ctx, Replicas, next); err != nil {
			return err
		}
	}
	if s, ok := r.sights[Primary]; ok {
		next, why := routePrimary(r.routes[Primary], s, replicas, r.Patience)
		if next != r.routes[Primary] {
			r.Log.Warn("pgpool's primary changes", "from", r.routes[Primary].To, "to", next.To, "reason", why)
		}
		return r.direct(ctx, Primary, next)
	}
	return nil
}

func (r *Runner) direct(ctx context.Context, role Role, to Route) error {
	r.routes[role] = to
	return r.links[role].direct(ctx, to)
}

func (r *Runner) start() (err error) {
	if r.serving, err = r.keys.served(); err != nil {
		return err
	}
	r.restart, r.behind = time.Time{}, laggards{}
	r.pool, err = start(r.Reaper, r.Program, r.Places)
	return err
}

// stop ends pgpool without cutting off a transaction that ends in time.
func (r *Runner) stop(ctx context.Context, looks <-chan seen) {
	over := time.After(linger)
	for lingering := true; lingering; {
		select {
		case <-over:
			lingering = false
		case <-r.pool.Done():
			lingering = false
		case look := <-looks:
			if err := r.note(ctx, look); err != nil {
				r.Log.Error("cannot follow the Services", "error", err)
			}
		}
	}
	r.pool.drain(r.StopWithin)
	r.pool.end()
	r.Log.Info("pgpool stopped")
}

// refresh makes the files again and has pgpool read them when a Secret changed. A Secret that is wrong is reported and changes nothing:
// pgpool goes on with what it has.
func (r *Runner) refresh() error {
	r.tell("new keys are not used", r.keys.place())
	changed, err := r.write()
	if err != nil {
		return err
	}
	if changed {
		r.behind = newLaggards(r.pool.PID)
		r.Log.Info("passwords changed")
	}
	return r.serveCertificate()
}

// serveCertificate restarts pgpool when it serves an old certificate (4.6 and 4.7 read it at their start only), at a moment in which
// nobody is in a query or a transaction, or, if there is none, after the time that a stop is given.
func (r *Runner) serveCertificate() error {
	now, err := r.keys.served()
	if err != nil {
		return err
	}
	switch {
	case bytes.Equal(now, r.serving):
		return nil
	case r.restart.IsZero():
		r.restart = time.Now().Add(r.StopWithin)
	}
	late := time.Now().After(r.restart)
	if !late && anyBusy(sessionsOf(r.pool.PID)) {
		return nil
	}
	r.pool.end()
	if err := r.start(); err != nil {
		return err
	}
	r.Log.Warn("pgpool was restarted to serve its new certificate", "transactions_cut_off", late)
	return nil
}

// write makes pgpool's files and reports whether the passwords changed. Users whose Secrets are wrong are reported.
func (r *Runner) write() (changed bool, err error) {
	conf, err := Render(r.Config, r.Places)
	if err != nil {
		return false, fmt.Errorf("make pgpool.conf: %w", err)
	}
	r.accounts, err = ReadAccounts(r.Users, r.accounts)
	r.tell("passwords are not used", err)
	passwd := r.accounts.File()
	for path, text := range map[string]string{
		filepath.Join(r.Places.Conf, "pgpool.conf"):   conf,
		filepath.Join(r.Places.Conf, "pool_hba.conf"): HBA(),
		filepath.Join(r.Places.Conf, "pcp.conf"):      "", // nobody: pgpool complains when there is none
		r.Places.passwd():                             passwd,
	} {
		old, err := os.ReadFile(path)
		if err == nil && string(old) == text {
			continue
		}
		if err := durable.WriteFile(path, []byte(text), 0o600); err != nil {
			return false, fmt.Errorf("write %s: %w", filepath.Base(path), err)
		}
		changed = changed || path == r.Places.passwd()
	}
	return changed, nil
}

// tell logs a problem when it begins and when it changes, and once when it has gone.
func (r *Runner) tell(what string, err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	before := r.told[what]
	r.told[what] = now
	switch now {
	case before:
	case "":
		r.Log.Info("problem solved", "problem", what, "before", before)
	default:
		r.Log.Error(what, "error", now)
	}
}
