package keeping

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/controlfile"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// end finishes a drained keeper. The grant to stop is written by now. guard takes the volume's lock before it reads the grant, so a lock that
// is held here means: no server process is left, and none starts any more (SAFETY rules 6 and 7). Only then is the record released.
func (k *Keeper) end(ctx context.Context, v judge.Verdict) error {
	free, err := holdLock(layout.In(k.o.Volume).Lock())
	if err != nil {
		return fmt.Errorf("prove the server stopped: %w", err)
	}
	defer free()
	if v.Do == judge.Release {
		if err := k.release(ctx, v.Record); err != nil {
			k.log.Warn("record not released, it runs out by itself", "error", err)
		}
	}
	k.log.Info("ended", "reason", v.Reason)
	k.endOnce.Do(func() { close(k.ended) })
	return nil
}

// handedOver finishes a hand-over: it proves that no server is left and keeps any from starting while the record is given back. One that
// cannot be finished is called off, and the server goes on as primary under its lease (SAFETY D33).
func (k *Keeper) handedOver(ctx context.Context, v judge.Verdict) error {
	n := k.look()
	unclean := n.handover != nil && n.handover.Unclean
	if unclean && n.state != nil && n.state.KilledAll && n.state.Server != grant.Down {
		// The volume hangs, and its lock with it: it is not even asked. What was sent SIGKILL runs no more, and guard starts nothing (SAFETY D11).
		return k.gaveUp(ctx)
	}
	free, err := holdLock(layout.In(k.o.Volume).Lock())
	if err != nil {
		return fmt.Errorf("prove the server stopped: %w", err)
	}
	defer free()
	if err = k.release(ctx, v.Record); err != nil && unclean && errors.Is(err, errUnclean) {
		err = k.gaveUp(ctx)
	}
	if err != nil {
		if v := k.view(); v.Trouble != "" && !v.InForce(boottime.Now()) {
			k.withdraw(ctx, v) // the server is stopped and the right has ended; whoever can reach the store need not wait
		}
		if !k.look().ending() {
			k.change(func(n *known) { n.handover, n.attempt.calledOff = nil, "the record was not given back: "+err.Error() })
		}
		return err
	}
	return nil
}

// writeFor writes the end of a leader's reign for it.
func (k *Keeper) writeFor(ctx context.Context, version string, r record.Record) (string, error) {
	l := k.loop.Load()
	if l == nil {
		return "", errors.New("which volume this pod has is not known yet")
	}
	made, err := l.Write(ctx, version, r)
	if err == nil {
		k.log.Info("record given back for its leader, who cannot write", "holder", r.Holder.Member, "epoch", r.Epoch.String())
		k.tellPeers(context.WithoutCancel(ctx), r)
	}
	return made, err
}

// gaveUp gives the record up without a final position.
func (k *Keeper) gaveUp(ctx context.Context) error {
	l := k.loop.Load()
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if err := l.Vacate(ctx); err != nil {
		return err
	}
	k.log.Info("record given up")
	k.tellPeers(context.WithoutCancel(ctx), l.View().Record)
	return nil
}

// ending: the container was told to end, so there is no going back.
func (n known) ending() bool { return n.state != nil && n.state.Ending }

// release gives the record back with the position of the shutdown checkpoint, to the heir that r names. Nobody may be able to start a server
// meanwhile.
func (k *Keeper) release(ctx context.Context, r record.Record) error {
	l := k.loop.Load()
	if l == nil {
		return nil
	}
	c, err := controlfile.Read(layout.In(k.o.Volume).Data())
	switch {
	case err != nil:
		return err
	case c.State != controlfile.ShutDown || c.SystemID != r.SystemID:
		return errUnclean
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if err := l.Release(ctx, c.Checkpoint, r.Heir, k.giving(r)); err != nil {
		return err
	}
	k.log.Info("record released", "lsn", c.Checkpoint.String(), "heir", r.Heir)
	k.tellPeers(context.WithoutCancel(ctx), l.View().Record)
	return nil
}

var errUnclean = errors.New("release the record: the server was not shut down cleanly")

var errHeld = errors.New("a server process, or guard, still holds the volume's lock")

// holdLock takes a shared lock on the volume's lock file, which keeps anybody else from taking the exclusive one, and returns what gives
// it up. The volume is mounted read-only here; a lock needs no more. A file that was never made says that no server ever was.
func holdLock(path string) (free func(), err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(errHeld, f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
