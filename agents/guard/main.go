// Command guard is the first process of the server's container. It takes the volume's lock, runs PostgreSQL as the present grant says, and
// kills it when a grant to be primary runs out, whatever else happens. It knows nothing of Kubernetes: keeper writes the grant.
//
//	guard         run the server
//	guard -noop   do nothing and succeed: the archive_command until archiving is set
//
// Signals: SIGTERM and SIGINT shut the server down (fast) and end guard with its exit code; SIGQUIT does so at once, without a checkpoint;
// SIGHUP derives keys and configuration again.
//
// Variables:
//
//	PGSPAN_FENCE_AFTER     length of a fresh grant, as keeper gives it; a promotion needs half of it (6s)
//	PGSPAN_STOP_TIMEOUT    the pod's grace period: what a shutdown may take in all (60s)
//	PGSPAN_LISTEN          where /livez answers (:8007)
//	PGSPAN_LOG_LEVEL       debug, info, warn or error (info)
//	PGSPAN_POD_NAME        metadata.name
//	PGSPAN_POD_UID         metadata.uid
//	PGSPAN_POD_IP          status.podIP
//	PGSPAN_NAMESPACE       metadata.namespace
//	PGSPAN_NODE            spec.nodeName
//	PGSPAN_MEMORY_LIMIT    the container's memory limit, if it has one; shared_buffers is a quarter of it
//	PGSPAN_BORN_AS         primary or replica: what an empty volume becomes (replica)
//	PGSPAN_CLONE_MAX_RATE  upper limit of a base backup in bytes per second
//	PGSPAN_CLONE_STALL     a base backup that grows by nothing for so long is begun again (10m)
//
// the places, all with defaults: PGSPAN_BIN, PGSPAN_CONTROL, PGSPAN_CONF, PGSPAN_KEYS, PGSPAN_SOCKET, PGSPAN_SETTINGS, PGSPAN_TLS,
// PGSPAN_VOLUME; and, as seed (its comment says what they do), PGSPAN_STANDALONE and PostDock's variables: CONFIGS,
// CONFIGS_DELIMITER_SYMBOL, CONFIGS_ASSIGNMENT_SYMBOL and the others.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"runtime"

	"github.com/kelseyhightower/envconfig"

	"github.com/pgspan/pgspan/agents/internal/guarding"
)

func main() {
	noop := flag.Bool("noop", false, "do nothing and succeed")
	flag.Parse()
	if *noop {
		return
	}
	// Two are enough, and a throttled container cannot be kept busy by guard's own threads (SAFETY D50).
	runtime.GOMAXPROCS(2)
	os.Exit(run())
}

func run() int {
	var config guarding.Config
	err := envconfig.Process("", &config)
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		guarding.Config{LogLevel: "info"}.Logger(os.Stderr).Error("guard cannot run", "error", err.Error())
		return 2
	}
	log := config.Logger(os.Stderr)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, guarding.Signals()...)
	guard, err := guarding.New(config, log)
	if err != nil {
		log.Error("guard cannot run", "error", err.Error())
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go serve(ctx, config.Listen, guard, log)
	return guard.Run(ctx, signals)
}

// serve answers probes. Without an answer the kubelet restarts the container, so a port that cannot be had is only logged here.
func serve(ctx context.Context, listen string, guard *guarding.Guard, log *slog.Logger) {
	if err := guarding.ServeLive(ctx, listen, guard.Alive); err != nil {
		log.Error("probes are not answered", "error", err.Error())
	}
}
