package keeping

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// telling is what an election has been told, when.
type telling struct {
	after time.Duration
	heard map[string]lsn.LSN
}

func TestMemberThatIsSilentHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var all []telling
		var mu sync.Mutex
		asked := map[string]int{}
		c := newCanvass("7", func(ctx context.Context, m record.Member) (judge.Standing, error) {
			mu.Lock()
			asked[m.ID]++
			n := asked[m.ID]
			mu.Unlock()
			if m.ID == "dead" {
				<-ctx.Done()
				return judge.Standing{}, ctx.Err()
			}
			time.Sleep(10 * time.Millisecond)
			return judge.Standing{Member: m.ID, Position: lsn.LSN(n)}, nil
		}, func(heard []judge.Standing) {
			one := telling{time.Since(began), map[string]lsn.LSN{}}
			for _, s := range heard {
				one.heard[s.Member] = s.Position
			}
			all = append(all, one)
		})
		members := []record.Member{{ID: "me"}, {ID: "dead"}, {ID: "b"}}
		for range 8 { // electing's turns
			c.round(t.Context(), members, "me")
			time.Sleep(askEvery)
		}
		synctest.Wait()
		if first := all[0]; first.after != 10*time.Millisecond || first.heard["b"] != 1 {
			t.Errorf("first told %v after %v, want b's answer after 10ms", first.heard, first.after)
		}
		if asked["b"] != 8 || asked["dead"] != 2 || asked["me"] != 0 {
			t.Errorf("asked %v, want b in each round, the dead one again when its time was over, and never itself", asked)
		}
		if last := all[len(all)-1]; len(last.heard) != 1 || last.heard["b"] != 8 {
			t.Errorf("last told %v, want b's eighth answer alone", last.heard)
		}
		c.end()
		n := len(all)
		time.Sleep(2 * askLimit)
		synctest.Wait()
		if len(all) != n {
			t.Errorf("told %v after the end", all[n:])
		}
	})
}

// A member that has answered may have changed since: when it answers no more, what it said does not count.
func TestMemberThatFallsSilentIsHeardNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var last []judge.Standing
		c := newCanvass("7", func(context.Context, record.Member) (judge.Standing, error) {
			if n++; n == 2 {
				return judge.Standing{}, errors.New("reset")
			}
			return judge.Standing{Member: "b"}, nil
		}, func(heard []judge.Standing) { last = slices.Clone(heard) })
		for round, want := range []int{1, 0, 1} {
			c.round(t.Context(), []record.Member{{ID: "b"}}, "me")
			synctest.Wait()
			if len(last) != want {
				t.Errorf("round %d: %d are heard, want %d", round+1, len(last), want)
			}
		}
	})
}
