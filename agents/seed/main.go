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
//	PGSPAN_STANDALONE     true: there is no keeper; be a replica of REPLICATION_PRIMARY_HOST (below). Such a pod never becomes primary
//
// For those who come from PostDock, the variables of its postgres image are read too. These have an effect:
//
//	CONFIGS                    name:value[,name:value] into the configuration; a quoted value may hold the delimiter
//	CONFIGS_DELIMITER_SYMBOL   default ,
//	CONFIGS_ASSIGNMENT_SYMBOL  default :
//	NODE_ID                    with PGSPAN_STANDALONE the member's number; else 1000 + the number behind the last hyphen of NODE_NAME
//	NODE_NAME                  with PGSPAN_STANDALONE the member's name
//	CLUSTER_NODE_NETWORK_NAME  with PGSPAN_STANDALONE this node's address, which REPLICATION_PRIMARY_HOST must not be
//	CLUSTER_NAME               with PGSPAN_STANDALONE and no settings.yaml the name of the release; default pg_cluster
//	REPLICATION_PRIMARY_HOST   with PGSPAN_STANDALONE the primary (old name REPLICATION_HOST)
//	REPLICATION_PRIMARY_PORT   with PGSPAN_STANDALONE its port, default 5432 (old name REPLICATION_PORT)
//
// Every other one of them, if given, is answered by a sentence in the log that says what takes its place: PARTNER_NODES, NODE_PRIORITY,
// USE_REPLICATION_SLOTS, CLEAN_OVER_REWIND, POSTGRES_DB, POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_PASSWORD_FILE, DB_USERS,
// REPLICATION_DB, REPLICATION_USER, REPLICATION_PASSWORD, MASTER_ROLE_LOCK_FILE_NAME, STANDBY_ROLE_LOCK_FILE_NAME, MASTER_SYNC_LOCK_FILE,
// REPMGR_WAIT_POSTGRES_START_TIMEOUT, REPMGR_SLOT_NAME_PREFIX, CONNECT_TIMEOUT, RECONNECT_ATTEMPTS, RECONNECT_INTERVAL,
// MASTER_RESPONSE_TIMEOUT, REPMGR_DEGRADED_MONITORING_TIMEOUT, REPMGR_PID_FILE, REPMGR_MAJOR, STOPPING_LOCK_FILE, STOPPING_TIMEOUT,
// LAUNCH_RECOVERY_CHECK_INTERVAL, CHECK_PGCONNECT_TIMEOUT, LOG_LEVEL, SSH_ENABLE, FORCE_RECONFIGURE.
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
		podenv.Pod{}.Logger(os.Stderr, slog.LevelInfo, "seed").Error("seed ended", "error", err.Error())
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
