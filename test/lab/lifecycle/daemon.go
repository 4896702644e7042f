package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/registry"
	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/pgspan/pgspan/test/lab/volume"
	"golang.org/x/sync/errgroup"
)

// ServeCommand is the name of this program's command that runs the lab's background work.
const ServeCommand = "serve"

// startDaemon starts the background process unless it runs, and waits for its registry to answer.
func startDaemon(ctx context.Context) error {
	known, found, err := host.LoadProcess(daemonFile())
	if err != nil {
		return err
	}
	if !found || !known.Alive() {
		if err := cgroup.Make(machineGroup, 1024); err != nil {
			return err
		}
		if err := Spawn(ctx, DaemonLog(), daemonFile(), ServeCommand); err != nil {
			return fmt.Errorf("start background process: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, "background process (log: "+DaemonLog()+")", func(ctx context.Context) (string, error) {
		for network, address := range map[string]string{"tcp": topology.RegistryAddress, "unix": controlSocket()} {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return "", err
			}
			_ = conn.Close()
		}
		return "", nil
	})
}

// Spawn starts this program once more, to outlive the present command, and remembers the process.
func Spawn(ctx context.Context, logFile, processFile string, args ...string) error {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe", args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	process, err := host.Identify(cmd.Process.Pid)
	if err != nil {
		return err
	}
	return process.Save(processFile)
}

// JoinLab puts the calling process among those that end with the lab.
func JoinLab() error { return cgroup.Enter(machineGroup) }

// Serve is the background process: the registry, and what a cloud does for each site.
func Serve(ctx context.Context, log *slog.Logger) error {
	if err := JoinLab(); err != nil {
		return err
	}
	state, err := LoadState()
	if err != nil {
		return err
	}
	store, err := volume.Open(ctx, VolumesDir())
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return registry.Serve(ctx, RegistryDir(), slog.NewLogLogger(log.Handler(), slog.LevelDebug))
	})
	group.Go(func() error { return serveControl(ctx, store) })
	for _, s := range state.Lab.Sites {
		group.Go(func() error { return serveSite(ctx, s, store, log.With("site", s.Name)) })
	}
	return group.Wait()
}
