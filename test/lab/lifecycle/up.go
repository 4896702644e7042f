package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/controlplane"
	"github.com/pgspan/pgspan/test/lab/dns"
	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/host"
	"github.com/pgspan/pgspan/test/lab/image"
	"github.com/pgspan/pgspan/test/lab/node"
	"github.com/pgspan/pgspan/test/lab/pki"
	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/pgspan/pgspan/test/lab/volume"
	"github.com/pgspan/pgspan/test/lab/wan"
	"golang.org/x/sync/errgroup"
)

// Up makes sure that a ready lab of the given shape is there. One of another shape or version is taken down first when
// replace is set; without it that is an error. The caller holds the lock.
func Up(ctx context.Context, lab topology.Lab, bin build.Binaries, replace bool, progress build.Progress) error {
	state, err := LoadState()
	otherVersions := build.Binaries{Dir: state.Binaries}.Versions() != bin.Versions()
	switch {
	case errors.Is(err, ErrNoLab):
		return fresh(ctx, lab, bin, progress)
	case err != nil:
		return err
	case !state.Complete:
		progress("clearing what an interrupted start left")
		return fresh(ctx, lab, bin, progress)
	case replace && (!state.Lab.Equal(lab) || otherVersions):
		progress("taking the lab of %s down", state.Lab)
		return fresh(ctx, lab, bin, progress)
	case !state.Lab.Equal(lab):
		return fmt.Errorf("a lab of another shape is up: %s, not %s; this machine has room for one: run lab down first, or lab up --replace", state.Lab, lab)
	case otherVersions:
		return fmt.Errorf("a lab of other versions is up (%s); this machine has room for one: run lab down first, or lab up --replace", state.Binaries)
	}
	faults, err := fault.InForce()
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return fmt.Errorf("the lab is up, with faults in force: %v; run lab heal first", faults)
	}
	return verify(ctx, lab, bin, progress)
}

// fresh starts from nothing, after clearing whatever is there.
func fresh(ctx context.Context, lab topology.Lab, bin build.Binaries, progress build.Progress) error {
	began := time.Now()
	if err := Down(ctx, func(string, ...any) {}); err != nil {
		return fmt.Errorf("clear the machine for a new lab: %w", err)
	}
	state := State{Lab: lab, Binaries: bin.Dir}
	if err := state.save(); err != nil {
		return err
	}
	progress("network of %s", lab)
	if err := wan.Up(ctx, lab); err != nil {
		return fmt.Errorf("make network: %w", err)
	}
	if err := volume.Prepare(VolumesDir()); err != nil {
		return err
	}
	if err := startDaemon(ctx); err != nil {
		return err
	}
	if err := image.PushAll(ctx, bin); err != nil {
		return err
	}
	progress("registry %s, %d hosts", topology.RegistryAddress, len(lab.Hosts()))
	group, inner := errgroup.WithContext(ctx)
	for _, s := range lab.Sites {
		group.Go(func() error { return startSite(inner, s, bin, progress) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ready(ctx, lab, progress); err != nil {
		return err
	}
	state.Complete = true
	if err := state.save(); err != nil {
		return err
	}
	progress("ready after %s; export KUBECONFIG=%s", time.Since(began).Round(time.Second), Kubeconfig())
	return nil
}

// startSite makes and starts all hosts of a site, and waits for its API server.
func startSite(ctx context.Context, s topology.Site, bin build.Binaries, progress build.Progress) error {
	authority, err := controlplane.Prepare(s)
	if err != nil {
		return err
	}
	for _, h := range s.Hosts() {
		spec := controlplane.Spec(s, bin)
		if !h.ControlPlane() {
			if err := node.Prepare(h, authority, bin, image.Pause); err != nil {
				return err
			}
			spec = node.Spec(h, bin)
		}
		if err := wan.Attach(ctx, h); err != nil {
			return fmt.Errorf("connect host %s: %w", h.Name, err)
		}
		if err := host.Start(ctx, spec); err != nil {
			return err
		}
	}
	client, err := Client(s)
	if err != nil {
		return err
	}
	if err := awaitAPI(ctx, s, client); err != nil {
		return err
	}
	progress("site %s: control plane answers at %s", s.Name, s.API())
	return dns.Publish(ctx, client, s)
}

// verify makes a lab that was ready ready again: it starts what has died since.
func verify(ctx context.Context, lab topology.Lab, bin build.Binaries, progress build.Progress) error {
	for _, h := range lab.Hosts() {
		alive, err := host.Alive(h.Name)
		if err != nil {
			return err
		}
		if alive {
			continue
		}
		progress("starting host %s, which has died", h.Name)
		if err := StartHost(ctx, h, bin); err != nil {
			return err
		}
	}
	if err := startDaemon(ctx); err != nil {
		return err
	}
	if err := image.PushAll(ctx, bin); err != nil {
		return err
	}
	if err := ready(ctx, lab, progress); err != nil {
		return err
	}
	progress("ready; export KUBECONFIG=%s", Kubeconfig())
	return nil
}

// StartHost starts a host that was killed, with the files it has.
func StartHost(ctx context.Context, h topology.Host, bin build.Binaries) error {
	// Remains of a host that died by itself would answer in its name.
	if err := KillHost(ctx, h); err != nil {
		return err
	}
	if err := wan.Attach(ctx, h); err != nil {
		return fmt.Errorf("connect host %s: %w", h.Name, err)
	}
	if h.ControlPlane() {
		return host.Start(ctx, controlplane.Spec(h.Site, bin))
	}
	return host.Start(ctx, node.Spec(h, bin))
}

// hungPatience is how long a killed program may take to end.
const hungPatience = 10 * time.Second

// KillHost ends a host as a power failure does: its network falls silent, and all its programs end at once. Only a
// program that waits for a hung disk stays until the disk is healed; nobody hears of it any more.
func KillHost(ctx context.Context, h topology.Host) error {
	if err := wan.Detach(ctx, h.Name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hungPatience)
	defer cancel()
	if err := host.Kill(ctx, h.Name); err != nil {
		return fmt.Errorf("host %s is silent, but some of its programs wait for a disk and end only when that is healed: %w", h.Name, err)
	}
	return nil
}

// writeKubeconfig writes the one file with a context per site.
func writeKubeconfig(lab topology.Lab) error {
	var files []string
	for _, s := range lab.Sites {
		files = append(files, controlplane.FilesOf(s).Admin())
	}
	return pki.MergeKubeconfigs(Kubeconfig(), files)
}
