// Package volumelock makes sure that one process tree owns a volume: an exclusive flock(2) on notes/lock. PostgreSQL's own
// postmaster.pid does not lock between containers, because process ids of two pods mean nothing to each other.
//
// The lock belongs to the open file description, not to a process. A program that is started with Lock.File among its inherited
// files shares the lock, and so does everything it forks: the volume is free only when the last of them is gone, whatever became
// of the one who took it. That is the meaning of "stopped" (SAFETY rule 6).
//
//	lock, err := volumelock.Wait(ctx, path, me, tell)
//	cmd.ExtraFiles = []*os.File{lock.File()} // the server and every backend keep it open
//	err = cmd.Start()
//	err = lock.HandOver()                    // from here on only the server's processes hold it
//	…
//	lock, err = volumelock.Try(path, me)     // works only when none of them is left: proof and possession in one
package volumelock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Holder is who took the lock, written into the file for those who wait. It decides nothing; only the lock does.
type Holder struct {
	Pod     string `json:"pod"`               // pod name
	UID     string `json:"uid"`               // pod UID
	Node    string `json:"node,omitempty"`    // node name, to find a pod that is gone from the API
	Program string `json:"program,omitempty"` // seed or guard
}

// String gives the holder for a sentence.
func (h Holder) String() string {
	if h == (Holder{}) {
		return "a process that has not written its name"
	}
	s := fmt.Sprintf("pod %s (uid %s)", h.Pod, h.UID)
	if h.Node != "" {
		s += " on node " + h.Node
	}
	return s
}

// HeldError says that another open file description has the lock.
type HeldError struct{ Holder Holder }

func (e *HeldError) Error() string { return "the volume is locked by " + e.Holder.String() }

// Lock is a held lock.
type Lock struct {
	file   *os.File
	signed bool
}

// Try takes the lock if it is free. A *HeldError names who has it otherwise; any other error means that it could not be found out.
func Try(path string, me Holder) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open volume lock: %w", err)
	}
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(&HeldError{Holder: read(f)}, f.Close())
		}
		return nil, errors.Join(fmt.Errorf("lock volume: %w", err), f.Close())
	}
	sign(f, me)
	return &Lock{file: f, signed: read(f) == me}, nil
}

// Poll is how often Wait looks again. flock can block, but a thread that is blocked in it cannot be told to give up.
const Poll = 100 * time.Millisecond

// Wait takes the lock as soon as it is free. held is called whenever the holder that is waited for is another one than before.
func Wait(ctx context.Context, path string, me Holder, held func(Holder)) (*Lock, error) {
	var last *Holder
	tick := time.NewTicker(Poll)
	defer tick.Stop()
	for {
		l, err := Try(path, me)
		var other *HeldError
		if err == nil || !errors.As(err, &other) {
			return l, err
		}
		if last == nil || *last != other.Holder {
			last = &other.Holder
			held(other.Holder)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for volume lock: %w: %w", ctx.Err(), other)
		case <-tick.C:
		}
	}
}

// Free reports whether nobody holds the lock, without keeping it, and who holds it if somebody does. A file that was never made is
// free. The caller's own Lock, if not handed over, counts as held. The test takes the lock for a moment, so a Try at that very
// moment can say "held"; who needs both proof and possession calls Try until it succeeds. keeper has the volume read-only, which is
// enough for this.
func Free(path string) (bool, Holder, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, Holder{}, nil
	}
	if err != nil {
		return false, Holder{}, fmt.Errorf("open volume lock: %w", err)
	}
	defer f.Close()
	// A shared lock is enough to find out and does not make another Free say "held".
	err = flock(f, unix.LOCK_SH|unix.LOCK_NB)
	switch {
	case err == nil:
		return true, Holder{}, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, read(f), nil
	default:
		return false, Holder{}, fmt.Errorf("test volume lock: %w", err)
	}
}

// HeldBy reads who signed the file last, whether or not that process still lives. ok is false when nobody has.
func HeldBy(path string) (h Holder, ok bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, fmt.Errorf("open volume lock: %w", err)
	}
	defer f.Close()
	h = read(f)
	return h, h != (Holder{}), nil
}

// File is the open file to be inherited by children (exec.Cmd.ExtraFiles). It stays owned by the Lock.
func (l *Lock) File() *os.File { return l.file }

// Signed reports whether the file names this holder. If not, it may still name the one before, and nothing may be concluded from it.
func (l *Lock) Signed() bool { return l.signed }

// HandOver closes this process's copy of the open file and leaves the lock to the children that inherited it. There must be no
// unlock: LOCK_UN would free the lock for all of them.
func (l *Lock) HandOver() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("hand over volume lock: %w", err)
	}
	return nil
}

// Close gives up this process's part in the lock. It is HandOver by another name, for holders without children.
func (l *Lock) Close() error { return l.HandOver() }

// sign writes the holder's name into the file. It is a hint for people: neither atomic nor fsynced, and a volume without room for
// it (a full disk must not keep a server from starting) is locked all the same.
func sign(f *os.File, me Holder) {
	b, err := json.Marshal(me)
	if err != nil {
		return
	}
	// Blanks make the name longer than any other, so that no rest of that one has to be cut off: where there is no room for a new block,
	// the old one can still be written over.
	b = append(b, bytes.Repeat([]byte{' '}, max(0, textLength-1-len(b)))...)
	_, _ = f.WriteAt(append(b, '\n'), 0)
}

const textLength = 1024

// read returns the zero Holder for a file that is empty or half written: the lock counts, not the text.
func read(f *os.File) Holder {
	b := make([]byte, 4*textLength)
	n, _ := f.ReadAt(b, 0) // an error is io.EOF, or there is no name to be had
	var h Holder
	if json.Unmarshal(b[:n], &h) != nil {
		return Holder{}
	}
	return h
}

// flock repeats the call when a signal interrupts it.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
