package pgpool

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOnlyUnusedMemoryWithoutAKeyIsRemoved(t *testing.T) {
	// In an IPC namespace of its own, as a pod has one. The thread is not given back, so it ends with the goroutine.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil {
			t.Errorf("make an IPC namespace: %v", err)
			return
		}
		segment := func(key int) int {
			id, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o600)
			if err != nil {
				t.Errorf("make shared memory: %v", err)
			}
			return id
		}
		left, used, keyed := segment(0), segment(0), segment(4711)
		if _, err := unix.SysvShmAttach(used, 0, 0); err != nil {
			t.Errorf("attach shared memory: %v", err)
		}
		if err := removeLeftovers(); err != nil {
			t.Error(err)
		}
		for id, want := range map[int]bool{left: false, used: true, keyed: true} {
			const dest = 0o1000 // removed, and there as long as somebody is attached
			var state unix.SysvShmDesc
			_, err := unix.SysvShmCtl(id, unix.IPC_STAT, &state)
			if got := err == nil && state.Perm.Mode&dest == 0; got != want {
				t.Errorf("segment %d is there: %v, want %v", id, got, want)
			}
		}
	}()
	<-done
}
