package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/pgspan/pgspan/agents/internal/keeping"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/renewal"
)

// leaseTimeout bounds each request about the lease, apiTimeout every other one. The lease's loop gives most of its requests less.
const (
	leaseTimeout = 2 * time.Second
	apiTimeout   = 5 * time.Second
)

// config is keeper's environment. The package comment says what each variable means.
type config struct {
	PodName       string        `envconfig:"PGSPAN_POD_NAME"`
	PodUID        string        `envconfig:"PGSPAN_POD_UID"`
	PodIP         string        `envconfig:"PGSPAN_POD_IP"`
	Namespace     string        `envconfig:"PGSPAN_NAMESPACE"`
	Node          string        `envconfig:"PGSPAN_NODE"`
	BornAs        string        `envconfig:"PGSPAN_BORN_AS"`
	LeaseDuration time.Duration `envconfig:"PGSPAN_LEASE_DURATION" default:"8s"`
	FenceAfter    time.Duration `envconfig:"PGSPAN_FENCE_AFTER" default:"5s"`
	StopTime      time.Duration `envconfig:"PGSPAN_STOP_TIME" default:"1s"`
	RenewEvery    time.Duration `envconfig:"PGSPAN_RENEW_EVERY" default:"1s"`
	SlotTTL       time.Duration `envconfig:"PGSPAN_SLOT_TTL" default:"1h"`
	Probe         string        `envconfig:"PGSPAN_PROBE"`
	ProbeEvery    time.Duration `envconfig:"PGSPAN_PROBE_EVERY" default:"30s"`
	Listen        string        `envconfig:"PGSPAN_LISTEN" default:":8008"`
	PeersListen   string        `envconfig:"PGSPAN_PEERS_LISTEN" default:":8009"`
	LogLevel      slog.Level    `envconfig:"PGSPAN_LOG_LEVEL" default:"info"`
	Control       string        `envconfig:"PGSPAN_CONTROL" default:"/pgspan/control"`
	Socket        string        `envconfig:"PGSPAN_SOCKET" default:"/pgspan/socket"`
	Settings      string        `envconfig:"PGSPAN_SETTINGS" default:"/pgspan/settings"`
	TLS           string        `envconfig:"PGSPAN_TLS" default:"/pgspan/tls"`
	Users         string        `envconfig:"PGSPAN_USERS" default:"/pgspan/users"`
	Volume        string        `envconfig:"PGSPAN_VOLUME" default:"/var/lib/pgspan"`
	TLSRenew      string        `envconfig:"PGSPAN_TLS_RENEW"`
	TLSCA         string        `envconfig:"PGSPAN_TLS_CA"`
	TLSLeafLife   time.Duration `envconfig:"PGSPAN_TLS_LEAF_LIFE"`
	Credentials   string        `envconfig:"PGSPAN_CREDENTIALS" default:"/var/run/secrets/kubernetes.io/serviceaccount"`
}

func load() (config, error) {
	var c config
	if err := envconfig.Process("", &c); err != nil {
		return config{}, fmt.Errorf("read the environment: %w", err)
	}
	return c, c.Validate()
}

// Validate reports all problems at once.
func (c config) Validate() error {
	var problems []error
	for _, v := range []struct{ name, value string }{
		{"PGSPAN_POD_NAME", c.PodName}, {"PGSPAN_POD_UID", c.PodUID}, {"PGSPAN_POD_IP", c.PodIP}, {"PGSPAN_NAMESPACE", c.Namespace},
	} {
		if v.value == "" {
			problems = append(problems, fmt.Errorf("%s is not set", v.name))
		}
	}
	if c.BornAs != "primary" && c.BornAs != "replica" {
		problems = append(problems, fmt.Errorf("PGSPAN_BORN_AS is %q: it must be primary or replica", c.BornAs))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"PGSPAN_LEASE_DURATION", c.LeaseDuration, 2 * time.Second}, {"PGSPAN_FENCE_AFTER", c.FenceAfter, time.Second},
		{"PGSPAN_STOP_TIME", c.StopTime, 100 * time.Millisecond}, {"PGSPAN_RENEW_EVERY", c.RenewEvery, 100 * time.Millisecond},
		{"PGSPAN_SLOT_TTL", c.SlotTTL, time.Minute},
	} {
		if d.value < d.least {
			problems = append(problems, fmt.Errorf("%s is %s: it must be at least %s", d.name, d.value, d.least))
		}
	}
	// SAFETY rule 3: the holder's server is down before anybody else may begin, with a fifth to spare for clocks that run unevenly.
	if limit := c.LeaseDuration * 8 / 10; c.FenceAfter+c.StopTime > limit {
		problems = append(problems, fmt.Errorf("PGSPAN_FENCE_AFTER (%s) and PGSPAN_STOP_TIME (%s) together exceed 0.8 of PGSPAN_LEASE_DURATION (%s): "+
			"the server might still write when another member takes over; they may be %s at most", c.FenceAfter, c.StopTime, c.LeaseDuration, limit))
	}
	if c.ProbeEvery != 0 && c.ProbeEvery < time.Second {
		problems = append(problems, fmt.Errorf("PGSPAN_PROBE_EVERY is %s: it must be 0, for never, or at least 1s", c.ProbeEvery))
	}
	if c.Probe != "" {
		if _, _, err := net.SplitHostPort(c.Probe); err != nil {
			problems = append(problems, fmt.Errorf("PGSPAN_PROBE is %q: it must be host:port of the Service for writing", c.Probe))
		}
	}
	if (c.TLSRenew == "") != (c.TLSCA == "") {
		problems = append(problems, fmt.Errorf("PGSPAN_TLS_RENEW is %q and PGSPAN_TLS_CA is %q: renewing certificates needs both Secrets, not renewing neither", c.TLSRenew, c.TLSCA))
	}
	// Two renewals may be lost without a fence.
	if 3*c.RenewEvery > c.FenceAfter {
		problems = append(problems, fmt.Errorf("PGSPAN_RENEW_EVERY is %s: it must be at most a third of PGSPAN_FENCE_AFTER (%s)", c.RenewEvery, c.FenceAfter))
	}
	return errors.Join(problems...)
}

func logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Value = slog.TimeValue(a.Value.Time().UTC())
		}
		return a
	}})).With("agent", "keeper")
}

// options turns the environment into what keeping needs, with two API clients: renewals have their own connections.
func (c config) options(version string, log *slog.Logger) (keeping.Options, error) {
	client := func(timeout time.Duration) (*kube.Client, error) {
		cfg, err := kube.InCluster(c.Credentials, c.Namespace, timeout)
		if err != nil {
			return nil, err
		}
		return kube.New(cfg)
	}
	leases, err := client(leaseTimeout)
	if err != nil {
		return keeping.Options{}, err
	}
	api, err := client(apiTimeout)
	if err != nil {
		return keeping.Options{}, err
	}
	var certificates *renewal.Renewal
	if c.TLSRenew != "" {
		certificates = &renewal.Renewal{Secrets: api, Shared: c.TLSRenew, CA: c.TLSCA, LeafLife: c.TLSLeafLife, Log: log}
	}
	return keeping.Options{
		Certificates: certificates,
		Version:      version, Pod: c.PodName, PodUID: c.PodUID, PodIP: c.PodIP, Node: c.Node, Namespace: c.Namespace,
		BornPrimary: c.BornAs == "primary", SlotTTL: c.SlotTTL,
		Timing: lease.Timing{Duration: c.LeaseDuration, FenceAfter: c.FenceAfter, Renew: c.RenewEvery},
		Probe:  c.Probe, ProbeEvery: c.ProbeEvery,
		PeersListen: c.PeersListen, Control: c.Control, Socket: c.Socket, Settings: c.Settings, TLS: c.TLS, Users: c.Users,
		Volume: c.Volume, Lease: leases, API: api, Log: log,
	}, nil
}
