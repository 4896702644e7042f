package host

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Init is the first process of a host. It returns only on an error: a host ends by being killed.
func Init(name string, log *slog.Logger) error {
	spec, err := Load(name)
	if err != nil {
		return err
	}
	if err := mountAll(spec); err != nil {
		return err
	}
	// Nothing outside may end the host but a kill; its programs get their own signals.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	s := newSupervisor(spec.Units, func(unit string) string { return LogFile(name, unit) }, log)
	ctx := context.Background()
	listener, err := listenControl(ctx, name)
	if err != nil {
		return err
	}
	go s.reap(ctx)
	for _, u := range s.units {
		go s.run(ctx, u)
	}
	return s.serve(listener)
}

// mountAll shows the host its own folders in place of the machine's. The machine's mounts stay visible, and volumes
// mounted later appear too, because the host's mounts follow the machine's.
func mountAll(spec Spec) error {
	for _, b := range spec.Binds {
		for _, dir := range []string{b.Source, b.Target} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("mount host folders: %w", err)
			}
		}
		if err := unix.Mount(b.Source, b.Target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s at %s: %w", b.Source, b.Target, err)
		}
		if !b.Shared {
			continue
		}
		if err := unix.Mount("", b.Target, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("share mount %s: %w", b.Target, err)
		}
	}
	for _, dir := range spec.Memory {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("mount host folders: %w", err)
		}
		if err := unix.Mount("pgspan-lab", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mount memory at %s: %w", dir, err)
		}
	}
	return nil
}
