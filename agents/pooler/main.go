// Pooler runs pgpool-II in its container. It makes pgpool's files from the chart's values and the users' Secrets, keeps them in step
// with both, and gives pgpool only the replicas for the time in which there is no primary, so that reads go on.
//
// "pooler -install DIR" copies the program into DIR, for an init container of the agents image.
//
// Its environment:
//
//	PGSPAN_PGPOOL            pgpool program (default: pgpool, found by PATH or in /usr/sbin)
//	PGSPAN_SETTINGS          directory of the mounted pgpool.yaml (default /pgspan/settings)
//	PGSPAN_TLS               directory of the mounted Secret: ca.crt, server.crt, server.key, pooler.crt, pooler.key (default /pgspan/tls)
//	PGSPAN_USERS             directory with <user>/password (default /pgspan/users)
//	PGSPAN_CONF              memory directory for pgpool's files (default /pgspan/conf)
//	PGSPAN_KEYS              memory directory for keys as pgpool accepts them (default /pgspan/keys)
//	PGSPAN_SOCKET            memory directory for sockets and the pid file (default /pgspan/socket)
//	PGSPAN_PRIMARY_PATIENCE  how long the primary may be away before reads are moved to the replicas alone (default 3s)
//	PGSPAN_STOP_TIMEOUT      how long pgpool may take to stop before it is killed (default 10s)
//	PGSPAN_LOG_LEVEL         debug, info, warn, error (default info)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/pgspan/pgspan/agents/internal/pgpool"
)

func main() {
	install := flag.String("install", "", "copy this program into the directory and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := func() error {
		if *install != "" {
			return pgpool.Install(*install)
		}
		return pgpool.Main(ctx)
	}()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		slog.Error("pooler ends", "error", err)
		os.Exit(1)
	}
}
