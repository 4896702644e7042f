package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestDisks has volumes misbehave.
func TestDisks(t *testing.T) {
	if !haStands(t) {
		return
	}
	run(t, "full_volume_of_the_primary", 3*time.Minute, fullVolume)
	run(t, "slow_volume_of_the_primary", 2*time.Minute, slowVolume)
}

// volume is a pod's, as the lab calls it.
func (r *release) volume(pod string) string {
	return fmt.Sprintf("%s/%s/data-%s", site.Name, r.namespace, pod)
}

func fullVolume(t *testing.T, ctx context.Context) {
	ha.loses(t, ctx, 90*time.Second, func(primary string) {
		fault(t, "fill", ha.volume(primary), "100%")
		// A server has segments in reserve. These use them up: the next one finds no room, and that is the end of a server.
		for range 40 {
			if _, err := site.SQL(ctx, ha.namespace, primary, "select pg_logical_emit_message(false, 'e2e', repeat('x', 8000)); select pg_switch_wal()"); err != nil {
				t.Logf("out of room: %v", err)
				break
			}
			ha.caughtUp(ctx, primary)
		}
		// Reads go on, wherever they are answered, and nobody is chosen again and again.
		failed := 0
		for range 15 {
			if !ha.reads(t, ctx, primary) {
				failed++
			}
			time.Sleep(time.Second) // an interval of observation
		}
		if failed > 5 {
			t.Errorf("%d of 15 reads failed", failed)
		}
		heal(t)
	})
	ha.whole(t, ctx)
}

// caughtUp waits a moment until the replicas have what was written just now: asynchronously, the writer's rows behind it could be lost with the server, as
// they may be.
func (r *release) caughtUp(ctx context.Context, primary string) {
	for range 10 {
		got, err := site.SQL(ctx, r.namespace, primary, "select coalesce(bool_and(flush_lsn >= pg_current_wal_insert_lsn() - 65536), false) from pg_stat_replication")
		if err != nil || got == "t" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// reads reports whether a member other than one answers: that one, with its full volume, may be called a replica meanwhile.
func (r *release) reads(t *testing.T, ctx context.Context, but string) bool {
	t.Helper()
	pods, err := site.Pods(ctx, r.namespace, r.databaseSelector())
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		if pod.Name == but {
			continue
		}
		c, cancel := context.WithTimeout(ctx, time.Second)
		_, err := site.SQL(c, r.namespace, pod.Name, "select 1")
		cancel()
		if err == nil {
			return true
		}
	}
	return false
}

func slowVolume(t *testing.T, ctx context.Context) {
	before := ha.epoch(t, ctx)
	ha.loses(t, ctx, 15*time.Second, func(primary string) {
		fault(t, "slow", ha.volume(primary), "20iops")
		time.Sleep(20 * time.Second)
		heal(t)
	})
	ha.whole(t, ctx)
	ha.sameEpoch(t, ctx, before)
}
