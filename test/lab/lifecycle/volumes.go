package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/volume"
)

// killPatience is how long processes may take to die before a hung volume is suspected.
const killPatience = 3 * time.Second

// endProcesses ends every process of the lab. One that waits for a hung volume dies only when the volume is healed,
// which in turn only works once the background process, that has the volumes open, is gone.
func endProcesses(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, killPatience)
	err := cgroup.Kill(first, "")
	cancel()
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	// What cannot be unmounted yet is tried again later.
	_ = volume.CleanUp(ctx, VolumesDir())
	return cgroup.Kill(ctx, "")
}
