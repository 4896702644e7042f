package inject

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"github.com/pgspan/pgspan/test/lab/path"
	"github.com/pgspan/pgspan/test/lab/topology"
)

// CarryCommand is the name of this program's command that carries the packets of one path.
const CarryCommand = "carry"

// carry makes the path that f names as the faults in the list want it.
func carry(ctx context.Context, lab topology.Lab, list []fault.Fault, f fault.Fault) error {
	a, err := lab.Site(f.Target)
	if err != nil {
		return err
	}
	b, err := lab.Site(f.Other)
	if err != nil {
		return err
	}
	if a.Index > b.Index {
		a, b = b, a
	}
	if err := path.Detach(ctx, a, b); err != nil {
		return err
	}
	file := filepath.Join(host.Small, "paths", fmt.Sprintf("%d-%d.json", a.Index, b.Index))
	if err := endCarrier(ctx, file); err != nil {
		return err
	}
	wanted, any := fault.PathsOf(lab, list)[[2]string{a.Name, b.Name}]
	if !any {
		return nil
	}
	text, err := json.Marshal(wanted)
	if err != nil {
		return fmt.Errorf("describe path: %w", err)
	}
	if err := lifecycle.Spawn(ctx, lifecycle.DaemonLog(), file, CarryCommand,
		strconv.Itoa(a.Index), strconv.Itoa(b.Index), string(text)); err != nil {
		return fmt.Errorf("start carrier: %w", err)
	}
	return path.Attach(ctx, a, b, wanted)
}

func endCarrier(ctx context.Context, file string) error {
	process, known, err := host.LoadProcess(file)
	if err != nil || !known {
		return err
	}
	for process.Alive() {
		if err := syscall.Kill(process.PID, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("end carrier: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end carrier: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
