package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/kubetest"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func client(t *testing.T, c *kubetest.Cluster, url, namespace string) *kube.Client {
	t.Helper()
	k, err := kube.New(kube.Config{Host: url, CAFile: c.CAFile, TokenFile: c.Token(t, "admin"), Namespace: namespace, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKubernetesStore(t *testing.T) {
	c := kubetest.Start(t)
	ns := c.Namespace(t)
	k := client(t, c, c.URL, ns)
	ctx := t.Context()
	store := func() *Kubernetes { return NewKubernetes(k, "a", map[string]string{"pgspan.io/cluster": "a"}) }
	s := store()
	if _, _, err := s.Get(ctx); !errors.Is(err, ErrAbsent) {
		t.Fatalf("nothing there: got %v, want absent", err)
	}
	v1, err := s.Create(ctx, recordOf(me, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store().Create(ctx, recordOf(other, 1)); !errors.Is(err, ErrConflict) {
		t.Errorf("second create: got %v, want a conflict", err)
	}
	r, version, err := s.Get(ctx)
	if err != nil || version != v1 || r.Holder != me {
		t.Fatalf("got %+v, %s, %v", r, version, err)
	}
	v2, err := s.Replace(ctx, v1, recordOf(me, 2))
	if err != nil || v2 == v1 {
		t.Fatalf("replace: got %s, %v", v2, err)
	}
	late := store()
	if _, _, err := late.Get(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replace(ctx, v2, recordOf(me, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Replace(ctx, v2, recordOf(other, 9)); !errors.Is(err, ErrConflict) {
		t.Errorf("write on an old version: got %v, want a conflict", err)
	}
	if _, err := late.Replace(ctx, v1, recordOf(other, 9)); !errors.Is(err, ErrConflict) {
		t.Errorf("write on a version that was not read last: got %v, want a conflict", err)
	}

	t.Run("what_kubectl_shows", func(t *testing.T) {
		o := c.Do(t, "GET", "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/a", nil)
		spec := o["spec"].(map[string]any)
		if spec["holderIdentity"] != me.String() || spec["leaseDurationSeconds"] != float64(8) || spec["renewTime"] == nil {
			t.Errorf("got %v", spec)
		}
	})
	t.Run("what_others_put_there_survives", func(t *testing.T) {
		c.Do(t, "PATCH", "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/a", map[string]any{"metadata": map[string]any{
			"labels": map[string]any{"team": "x"}, "annotations": map[string]any{"note": "y"}}})
		_, v, err := s.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Replace(ctx, v, recordOf(me, 4)); err != nil {
			t.Fatal(err)
		}
		m := c.Do(t, "GET", "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/a", nil)["metadata"].(map[string]any)
		if m["labels"].(map[string]any)["team"] != "x" || m["annotations"].(map[string]any)["note"] != "y" {
			t.Errorf("got %v", m)
		}
	})
	t.Run("duration_raised_by_hand_is_waited_for", func(t *testing.T) {
		c.Do(t, "PATCH", "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/a", map[string]any{"spec": map[string]any{"leaseDurationSeconds": 60}})
		if r, _, err := s.Get(ctx); err != nil || time.Duration(r.Duration) != time.Minute {
			t.Errorf("got %v, %v, want 1m", r.Duration, err)
		}
	})
	t.Run("unreadable_record_is_broken_and_not_absent", func(t *testing.T) {
		c.Do(t, "PATCH", "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/a", map[string]any{"metadata": map[string]any{"annotations": map[string]any{Annotation: nil}}})
		if _, v, err := s.Get(ctx); !errors.Is(err, ErrBroken) || v == "" {
			t.Errorf("got %q, %v, want broken", v, err)
		}
	})
	t.Run("removed", func(t *testing.T) {
		_, v, _ := s.Get(ctx)
		c.Do(t, "DELETE", "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/a", nil)
		// The API server calls this a conflict, of the object's UID; the look that follows finds nothing.
		if _, err := s.Replace(ctx, v, recordOf(me, 5)); !errors.Is(err, ErrConflict) && !errors.Is(err, ErrAbsent) {
			t.Errorf("replace: got %v, want a conflict or absent", err)
		}
		if _, _, err := s.Get(ctx); !errors.Is(err, ErrAbsent) {
			t.Errorf("look: got %v, want absent", err)
		}
	})
	t.Run("refusals_are_not_answers", func(t *testing.T) {
		p := c.Proxy(t)
		behind := NewKubernetes(client(t, c, p.URL, ns), "a", nil)
		for _, status := range []int{401, 403, 429, 500, 503} {
			p.Break(func(*http.Request) kubetest.Fault { return kubetest.Fault{Status: status} })
			served := p.Served()
			_, _, err := behind.Get(ctx)
			if err == nil || errors.Is(err, ErrAbsent) || errors.Is(err, ErrConflict) || errors.Is(err, ErrBroken) {
				t.Errorf("%d: got %v, want an error that says nothing of the record", status, err)
			}
			if p.Served() != served {
				t.Errorf("%d: passed on", status)
			}
		}
		p.Heal()
		if _, _, err := behind.Get(ctx); !errors.Is(err, ErrAbsent) {
			t.Errorf("after healing: got %v, want absent", err)
		}
	})
	t.Run("silence_costs_no_more_than_the_timeout", func(t *testing.T) {
		p := c.Proxy(t)
		behind := NewKubernetes(client(t, c, p.URL, ns), "a", nil)
		p.Break(func(*http.Request) kubetest.Fault { return kubetest.Fault{LoseRequest: true} })
		start := time.Now()
		if _, _, err := behind.Get(ctx); err == nil {
			t.Error("got an answer")
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v, want about 1s", took)
		}
	})
}

// contender takes the record whenever the rules of the loop allow it and gives it back at random: what a careless judge would do.
func contender(ctx context.Context, l *Loop, id grant.Incarnation, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		v := l.View()
		switch {
		case v.Known == Absent:
			claim := recordOf(id, 1)
			claim.SystemID, claim.Bootstrap = "", &record.Bootstrap{Member: id.Member}
			_ = l.Create(ctx, claim)
		case v.Known == Present && !v.Mine:
			next := v.Record.Clone()
			next.Epoch, next.Timeline, next.SystemID, next.Bootstrap = next.Epoch.NextLocal(), next.Timeline+1, "7", nil
			_ = l.Take(ctx, v.Version, next)
		case v.Mine && random.IntN(60) == 0:
			_ = l.Release(ctx, 1, "", nil)
			time.Sleep(time.Second) // or it would be the first to take it again
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(random.IntN(60)) * time.Millisecond):
		}
	}
}

// Two members, a real API server, and a network that loses, delays and repeats. Both run on this machine's one boot clock, so that an overlap
// of two rights to write can be seen directly.
func TestTwoContendersNeverMayWriteAtTheSameTime(t *testing.T) {
	c := kubetest.Start(t)
	ns := c.Namespace(t)
	const seed = 7
	timing := Timing{Duration: 2 * time.Second, FenceAfter: 1200 * time.Millisecond, Renew: 200 * time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	var views [2]func() View
	var reigns [2]int
	for i, id := range []grant.Incarnation{me, other} {
		p := c.Proxy(t)
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		bad, cut := false, false
		var until time.Time
		p.Break(func(r *http.Request) kubetest.Fault {
			mu.Lock()
			defer mu.Unlock()
			if time.Now().After(until) { // good and bad times alternate, so that there is something to lose
				bad, cut = !bad, random.IntN(2) == 0
				until = time.Now().Add(time.Duration(300+random.IntN(3700)) * time.Millisecond)
			}
			switch {
			case !bad:
				return kubetest.Fault{}
			case cut:
				return kubetest.Fault{LoseRequest: true, Reset: true}
			}
			return [...]kubetest.Fault{{}, {LoseRequest: true}, {LoseAnswer: true}, {LoseAnswer: true, Reset: true}, {Twice: true},
				{Before: 900 * time.Millisecond}, {Before: 2500 * time.Millisecond}, {After: 800 * time.Millisecond}, {Status: 503}}[random.IntN(9)]
		})
		l := New(Options{Store: NewKubernetes(client(t, c, p.URL, ns), "fuzz", nil), Me: id, Timing: timing})
		views[i] = l.View
		all.Go(func() { l.Run(ctx) })
		all.Go(func() { contender(ctx, l, id, uint64(i)) })
	}
	was := [2]bool{}
	for ctx.Err() == nil {
		now := boottime.Now()
		a, b := views[0](), views[1]()
		in := [2]bool{a.InForce(now), b.InForce(now)}
		if in[0] && in[1] {
			t.Fatalf("both may write: %s until %d and %s until %d", a.Record.Epoch, a.Deadline, b.Record.Epoch, b.Deadline)
		}
		for i := range in {
			if in[i] && !was[i] {
				reigns[i]++
			}
		}
		was = in
		if time.Since(began) > 18*time.Second && min(reigns[0], reigns[1]) > 1 {
			cancel() // on a busy machine it takes longer until enough has happened
		}
		time.Sleep(500 * time.Microsecond)
	}
	all.Wait()
	if reigns[0] < 2 || reigns[1] < 2 {
		t.Errorf("reigns %v: too little has happened for this to show anything", reigns)
	}
	t.Logf("reigns %v", reigns)
	o := c.Do(t, "GET", "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/fuzz", nil)
	if !strings.Contains(o["metadata"].(map[string]any)["annotations"].(map[string]any)[Annotation].(string), `"epoch"`) {
		t.Error("no record at the end")
	}
}
