package pgpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/pgspan/pgspan/agents/internal/reaper"
)

// environment is the pooler's; the comment of the program lists it.
type environment struct {
	Program     string        `envconfig:"PGSPAN_PGPOOL" default:"pgpool" desc:"pgpool program"`
	Settings    string        `envconfig:"PGSPAN_SETTINGS" default:"/pgspan/settings" desc:"directory of pgpool.yaml"`
	TLS         string        `envconfig:"PGSPAN_TLS" default:"/pgspan/tls" desc:"directory of the mounted keys"`
	Users       string        `envconfig:"PGSPAN_USERS" default:"/pgspan/users" desc:"directory with <user>/password"`
	Conf        string        `envconfig:"PGSPAN_CONF" default:"/pgspan/conf" desc:"memory directory of pgpool's files"`
	Keys        string        `envconfig:"PGSPAN_KEYS" default:"/pgspan/keys" desc:"memory directory of keys as pgpool accepts them"`
	Socket      string        `envconfig:"PGSPAN_SOCKET" default:"/pgspan/socket" desc:"memory directory of sockets and the pid file"`
	Patience    time.Duration `envconfig:"PGSPAN_PRIMARY_PATIENCE" default:"3s" desc:"how long the primary may be away before sessions are given the replicas alone"`
	StopTimeout time.Duration `envconfig:"PGSPAN_STOP_TIMEOUT" default:"10s" desc:"how long transactions may take to end when pgpool stops"`
	LogLevel    slog.Level    `envconfig:"PGSPAN_LOG_LEVEL" default:"info" desc:"debug, info, warn, error"`
}

// Validate reports every setting that cannot work.
func (e environment) Validate() error {
	var problems []error
	if e.Patience < 0 {
		problems = append(problems, fmt.Errorf("PGSPAN_PRIMARY_PATIENCE is %s: want 0 or more", e.Patience))
	}
	if e.StopTimeout < 0 {
		problems = append(problems, fmt.Errorf("PGSPAN_STOP_TIMEOUT is %s: want 0 or more", e.StopTimeout))
	}
	return errors.Join(problems...)
}

// Main is the pooler's program: it returns when ctx ends, or with the reason why pgpool cannot run.
func Main(ctx context.Context) error {
	var e environment
	if err := envconfig.Process("", &e); err != nil {
		return fmt.Errorf("read environment: %w", err)
	}
	if err := e.Validate(); err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: e.LogLevel, ReplaceAttr: utc}))
	slog.SetDefault(log)
	config, err := Read(e.Settings)
	if err != nil {
		return err
	}
	program, err := find(e.Program)
	if err != nil {
		return err
	}
	dead := reaper.New()
	go dead.Run(context.WithoutCancel(ctx)) // it must see pgpool end after the signal to stop
	run := Runner{
		Program: program, Config: config, Users: e.Users, TLS: e.TLS,
		Places:   Places{Conf: e.Conf, Keys: e.Keys, Socket: e.Socket},
		Patience: e.Patience, Look: time.Second, Refresh: 2 * time.Second, StopWithin: e.StopTimeout,
		Reaper: dead, Log: log,
	}
	return run.Run(ctx)
}

// find looks where Debian and the project's own packages put pgpool.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/bin", "/opt/pgpool-II/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, filepath.Base(name))); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find pgpool: %q is neither on PATH nor in /usr/sbin, /usr/local/bin or /opt/pgpool-II/bin; set PGSPAN_PGPOOL", name)
}

// Install copies the running program into dir, where a container of another image can run it.
func Install(dir string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	defer self.Close()
	to, err := os.OpenFile(filepath.Join(dir, "pooler"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if _, err := io.Copy(to, self); err != nil {
		to.Close()
		return fmt.Errorf("install: %w", err)
	}
	return to.Close()
}

func utc(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Time(slog.TimeKey, a.Value.Time().UTC())
	}
	return a
}
