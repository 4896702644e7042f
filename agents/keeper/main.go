// Command keeper runs beside the server in every database pod. It holds or watches the site's lease, judges what this member is to be, and
// tells guard by the grant; it publishes roles and the endpoint for writing, keeps members, slots and accounts as the leader, and serves
// health and metrics.
//
// It ignores SIGTERM until the server is proven down, because kubelet ends it last: then it gives the lease back and exits.
//
// Environment:
//
//	PGSPAN_POD_NAME        this pod's name (required)
//	PGSPAN_POD_UID         this pod's UID (required)
//	PGSPAN_POD_IP          this pod's address, as others reach it (required)
//	PGSPAN_NAMESPACE       the release's namespace (required)
//	PGSPAN_NODE            the node's name, for topology-aware routing
//	PGSPAN_BORN_AS         primary or replica: what an empty volume becomes (required)
//	PGSPAN_LEASE_DURATION  how long others wait before they take over (8s)
//	PGSPAN_FENCE_AFTER     how long the right to write lasts without a renewal (5s)
//	PGSPAN_STOP_TIME       longest measured time to stop the server by force (1s);
//	                       fence-after and stop time together must not exceed 0.8 of the lease duration
//	PGSPAN_RENEW_EVERY     time between two renewals (1s)
//	PGSPAN_SLOT_TTL        how long a member whose pod is gone keeps its place and its slot (1h)
//	PGSPAN_PROBE           host:port of the Service for writing: the leader makes a write through it and tells when that fails; unset: none
//	PGSPAN_PROBE_EVERY     how often it does that, and asks every server whether it writes, whatever leases say; 0: never (30s)
//	PGSPAN_LISTEN          address of health checks and metrics (:8008)
//	PGSPAN_PEERS_LISTEN    address where the other keepers reach this one, over mutual TLS; they call port 8009 (:8009)
//	PGSPAN_KEEPERS         not for keeper: for role, when a person runs that in keeper's container
//	PGSPAN_LOG_LEVEL       debug, info, warn or error (info)
//	PGSPAN_CONTROL         grant and state (/pgspan/control)
//	PGSPAN_SOCKET          the server's Unix socket (/pgspan/socket)
//	PGSPAN_SETTINGS        settings.yaml (/pgspan/settings)
//	PGSPAN_TLS             certificates: for and towards the other keepers, and the days left are told (/pgspan/tls)
//	PGSPAN_TLS_RENEW       Secret whose certificates the leader renews at two thirds of their life; unset: none (with tls.mode generated)
//	PGSPAN_TLS_CA          Secret with ca.crt and ca.key that signs them
//	PGSPAN_TLS_LEAF_LIFE   how long a renewed certificate is good for (one year)
//	PGSPAN_USERS           <user>/password, with a chart that is older than this program (/pgspan/users)
//	PGSPAN_VOLUME          the volume, mounted read-only (/var/lib/pgspan)
//	PGSPAN_CREDENTIALS     token and ca.crt for the Kubernetes API (/var/run/secrets/kubernetes.io/serviceaccount)
//
// KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are set by kubelet.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/agents/internal/health"
	"github.com/pgspan/pgspan/agents/internal/keeping"
	"github.com/pgspan/pgspan/agents/internal/metrics"
)

// version is set by the linker (-X main.version).
var version = "unknown"

func main() {
	if err := run(); err != nil {
		slog.Error("keeper ended", "error", err)
		os.Exit(1)
	}
}

func run() error {
	// Loops that wait need no more, and a thread per core of a large node costs memory. One would take a tenth less time; but while a thread waits for a page
	// of this program from a slow disk, nothing else runs on its share, and the lease loop must go on.
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(50) // the heap is about two megabytes: collecting it earlier saves as much again and takes no time that shows

	slog.SetDefault(logger(slog.LevelInfo)) // until the level that is asked for is known
	cfg, err := load()
	if err != nil {
		return err
	}
	log := logger(cfg.LogLevel)
	slog.SetDefault(log)
	options, err := cfg.options(version, log)
	if err != nil {
		return err
	}
	k, err := keeping.New(options)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for range signals {
			k.Drain()
		}
	}()
	server := &http.Server{
		Addr: cfg.Listen, Handler: health.Handler(k.Snapshot, k.Alive, metrics.Handler(version, k.Snapshot)),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	go func() {
		// A taken port costs probes and metrics, not the database: keeper goes on and kubelet's probes tell.
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Error("health checks not served", "error", err)
		}
	}()
	defer server.Close()
	return k.Run(context.Background())
}
