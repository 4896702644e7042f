package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/images/build/base"
	"github.com/pgspan/pgspan/images/build/builder"
	"github.com/pgspan/pgspan/images/build/engine"
	"github.com/pgspan/pgspan/images/build/source"
)

// open finds the source tree and the engine and makes a builder of them. done lets other runs of the tool go on.
func (o *options) open(ctx context.Context) (b *builder.Builder, done func(), err error) {
	tree, err := source.Open(ctx, o.tag)
	if err != nil {
		return nil, nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, nil, fmt.Errorf("find the cache: %w", err)
	}
	cache = filepath.Join(cache, "pgspan")
	run := engine.Runner{}
	if o.verbose {
		run.Echo = o.out
	}
	done, err = o.alone(ctx, filepath.Join(cache, "images"))
	if err != nil {
		return nil, nil, err
	}
	eng, err := o.engine(ctx, run)
	if err != nil {
		done()
		return nil, nil, err
	}
	bases := &base.Bases{
		Engine: eng, Run: run, Repository: o.debian, Cache: filepath.Join(cache, "images"), Refresh: o.refresh, Say: o.say,
	}
	return &builder.Builder{
		Engine: eng, Tree: tree, Bases: bases, Dist: filepath.Join(tree.Dir, "dist"), RootFS: filepath.Join(cache, "rootfs"), Say: o.say,
	}, done, nil
}

func (o *options) say(format string, args ...any) { fmt.Fprintf(o.out, format+"\n", args...) }

// alone waits until no other run of the tool by this user is under way: they would build the same things twice.
func (o *options) alone(ctx context.Context, cache string) (func(), error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	said := false
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("take the lock: %w", err)
		}
		if !said {
			o.say("another build of images is under way, waiting for it")
			said = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// engine finds an engine. On a Debian machine that has none, root gets buildah installed; so is mmdebstrap, which buildah needs
// where there is no registry.
func (o *options) engine(ctx context.Context, run engine.Runner) (engine.Engine, error) {
	found, err := engine.Detect(ctx, run)
	if err != nil && !errors.Is(err, engine.ErrNone) {
		return nil, err
	}
	var missing []string
	if found == nil {
		missing = append(missing, "buildah")
	}
	if (found == nil || found.Name() == "buildah") && !run.Has("mmdebstrap") {
		missing = append(missing, "mmdebstrap")
	}
	if len(missing) == 0 {
		return found, nil
	}
	_, debian := os.Stat("/etc/debian_version")
	if os.Geteuid() != 0 || debian != nil || !run.Has("apt-get") {
		return found, err
	}
	o.say("installing %v", missing)
	if err := run.Do(ctx, "apt-get", "update", "-qq"); err != nil {
		return nil, err
	}
	install := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)
	if err := run.Do(ctx, "apt-get", install...); err != nil {
		return nil, err
	}
	return engine.Detect(ctx, run)
}
