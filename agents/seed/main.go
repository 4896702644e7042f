// Command seed is the init container of a database pod. It brings the volume to where a server may be started on it: keys and
// configuration are derived, the volume's lock is taken, the data directory is inspected, the findings are reported to keeper, and what
// keeper's grant allows is done: keep what is there, create the database, or clone it from the leader. It exits 0 when guard can go on.
// What is wrong and needs a person is reported and waited out; the log has one line for each change.
//
// With -install DIR it copies itself and guard from the agents image into DIR, with a passwd file that has the user it runs as.
//
// Every variable of seed:
//
//	PGSPAN_POD_NAME       metadata.name of the pod (required)
//	PGSPAN_POD_UID        metadata.uid of the pod (required)
//	PGSPAN_POD_IP         status.podIP
//	PGSPAN_NAMESPACE      metadata.namespace
//	PGSPAN_NODE           spec.nodeName
//	PGSPAN_BORN_AS        primary or replica (default): what an empty volume becomes
//	PGSPAN_MEMORY_LIMIT   memory limit of the server's container: bytes, or with k, M, G, Ki, Mi, Gi; unset means none
//	PGSPAN_CLONE_MAX_RATE upper limit of a clone in bytes per second, 32Ki to 1Gi; unset means none
//	PGSPAN_CLONE_STALL    a clone that grows by nothing for so long is begun again; default 10m
//	PGSPAN_LOG_LEVEL      debug, info (default), warn or error
//	PGSPAN_VOLUME         the persistent volume; default /var/lib/pgspan
//	PGSPAN_CONTROL        grant and state; default /pgspan/control
//	PGSPAN_CONF           derived configuration; default /pgspan/conf
//	PGSPAN_KEYS           keys in place; default /pgspan/keys
//	PGSPAN_SOCKET         the server's Unix socket; default /pgspan/socket
//	PGSPAN_SETTINGS       settings.yaml of the chart; default /pgspan/settings
//	PGSPAN_TLS            keys and certificates as mounted; default /pgspan/tls
//	PGSPAN_BIN            programs; default /pgspan/bin
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/kelseyhightower/envconfig"

	"github.com/pgspan/pgspan/agents/internal/install"
	"github.com/pgspan/pgspan/agents/internal/podenv"
	"github.com/pgspan/pgspan/agents/internal/seeding"
)

type config struct {
	podenv.Pod
	LogLevel slog.Level `envconfig:"PGSPAN_LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("install", "", "copy seed and guard into this directory, with a passwd file, and end")
	flag.Parse()
	if *dir != "" {
		return install.Into(*dir)
	}
	var c config
	if err := envconfig.Process("", &c); err != nil {
		return fmt.Errorf("read environment: %w", err)
	}
	if problems := c.Validate(); len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return seeding.Seed(ctx, c.Pod, c.Logger(os.Stderr, c.LogLevel, "seed"), nil)
}
