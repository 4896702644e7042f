package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/leftovers"
	"github.com/pgspan/pgspan/test/lab/wan"
)

// Down ends the lab and leaves nothing of it on the machine but pushed images. It trusts no remembered state: it looks
// for what is there, so it works as well after any part was killed.
func Down(ctx context.Context, progress build.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	progress("ending all processes")
	if err := endProcesses(ctx); err != nil {
		return fmt.Errorf("end processes: %w", err)
	}
	progress("removing network, volumes and control groups")
	// One part that stays does not keep the others.
	all := []error{wan.Down(ctx), removeVolumes(ctx), cgroup.Remove(ctx, "")}
	for _, dir := range []string{host.Small, filepath.Join(host.Big, "hosts"), DaemonLog()} {
		all = append(all, os.RemoveAll(dir))
	}
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("remove the lab: %w", err)
	}
	return checkGone(ctx)
}

// checkGone looks whether the machine is really free of the lab.
func checkGone(ctx context.Context) error {
	now, err := leftovers.Take(ctx)
	if err != nil {
		return err
	}
	if left := leftovers.OfLab(now); len(left) > 0 {
		return fmt.Errorf("the lab left behind: %s", strings.Join(left, "; "))
	}
	return nil
}
