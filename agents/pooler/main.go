// Pooler runs pgpool-II in its container. It makes pgpool's files from the chart's values and the users' Secrets, keeps them in step
// with both, and is pgpool's way to the servers: over verified TLS, with limits of time, and to the replicas alone while there is no
// primary, so that reads go on.
//
// "pooler -install DIR" copies the program into DIR, for an init container of the agents image.
//
// SIGTERM ends it: for 2 s it goes on as before, until every node's Service rules have been told; then no session is begun, those that
// are in a query or transaction get PGSPAN_STOP_TIMEOUT to end it, and 3 s later at the latest all is over.
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
//	PGSPAN_PRIMARY_PATIENCE  how long the primary may be away before sessions are given the replicas alone (default 3s)
//	PGSPAN_STOP_TIMEOUT      how long transactions may take to end when pgpool stops, or restarts for a new certificate (default 10s)
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
	if err := run(*install); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "pooler:", err)
		slog.Error("pooler ends", "error", err)
		os.Exit(1)
	}
}

func run(install string) error {
	if install != "" {
		return pgpool.Install(install)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return pgpool.Main(ctx)
}
