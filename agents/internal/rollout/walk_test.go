package rollout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// walk is a site of which a rollout is carried out, with leaders that are lost and deeds that are cut off half way.
type walk struct {
	t    *testing.T
	r    *rand.Rand
	f    Facts
	back map[string]int // turns until a member that was restarted is back
	next int            // names of new pods and runs
	log  []string
	// value is what each server has of max_connections, asked what all are to have.
	value map[string]int
	asked int
}

func (w *walk) member(pod string) *Member {
	return &w.f.Members[slices.IndexFunc(w.f.Members, func(m Member) bool { return m.Pod == pod })]
}

func (w *walk) leader() *Member {
	return &w.f.Members[slices.IndexFunc(w.f.Members, func(m Member) bool { return m.Leads })]
}

// restart ends a member's server, with its pod or without.
func (w *walk) restart(m *Member, pod bool) {
	w.next++
	if m.Run = fmt.Sprint("run", w.next); pod {
		m.UID, m.Revision = fmt.Sprint("pod", w.next), m.Target
	}
	w.value[m.Pod] = w.renders(m)
	m.Problem = "it is away"
	w.back[m.Pod] = 1 + w.r.IntN(4)
	down := 0
	for _, other := range w.f.Members {
		if other.Problem != "" {
			down++
		}
	}
	if down > 1 {
		w.t.Errorf("%d members are away: %v", down, w.log)
	}
}

// renders is what a member's next start gives it: as guard does it, a standby has no less than its leader.
func (w *walk) renders(m *Member) int {
	if m.Leads {
		return w.asked
	}
	return max(w.asked, w.value[w.leader().Pod])
}

func (w *walk) switchOver() {
	old := w.leader()
	i := slices.IndexFunc(w.f.Members, func(m Member) bool { return !m.Leads && m.Problem == "" })
	if i < 0 {
		w.t.Fatalf("nobody to switch over to: %v", w.log)
	}
	w.f.Members[i].Leads, old.Leads = true, false
	w.restart(old, false)
}

// turn is one look of whoever leads, and what follows from it.
func (w *walk) turn() Deed {
	for pod, n := range w.back {
		if n--; n > 0 {
			w.back[pod] = n
			continue
		}
		delete(w.back, pod)
		w.member(pod).Problem = ""
	}
	l := w.leader()
	for i := range w.f.Members {
		m := &w.f.Members[i]
		if m.Pending, m.Raised = nil, nil; w.renders(m) != w.value[m.Pod] {
			m.Pending = []string{"max_connections"}
		}
		if w.renders(m) > w.asked {
			m.Raised = []string{"max_connections"}
		}
	}
	w.f.Leads = l.Problem == ""
	v := Judge(w.f)
	w.f.Quiet += 2 * time.Second
	if !v.Idle {
		w.f.Quiet = 0
	}
	w.log = append(w.log, v.Reason)
	cut := w.r.IntN(5) == 0 // the leader's keeper dies in the middle
	switch v.Deed {
	case Begin:
		s := v.Step
		w.f.Order.Step = &s
		if m := w.member(s.Pod); !cut || s.UID == "" {
			w.restart(m, s.UID != "")
		}
	case Watch:
		w.f.Order.Step.Watched = true
	case End:
		w.f.Order.Soaked = w.f.Order.Soaked || w.f.Order.Step.Watched
		w.f.Order.Step = nil
	case SwitchOver:
		if !cut {
			w.switchOver()
		}
	}
	return v.Deed
}

// Whatever is to be done, in whatever order things come back, and whoever is lost meanwhile: one member at a time, and in the end all is done.
func TestEveryRolloutEnds(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := &walk{t: t, r: r, f: site(soaks), back: map[string]int{}, value: map[string]int{}, asked: 100 + 50*(r.IntN(3)-1)}
		w.f.Left = time.Hour
		stale := r.IntN(2) == 0
		for i := range w.f.Members {
			m := &w.f.Members[i]
			if w.value[m.Pod] = 100; stale && r.IntN(4) > 0 {
				m.Target = "2"
			}
		}
		turns := 0
		for w.turn() != Finish {
			if turns++; turns > 300 || t.Failed() {
				t.Fatalf("seed %d has no end: %v", seed, w.log)
			}
			if len(w.back) == 0 && r.IntN(40) == 0 && turns < 100 { // a failover
				w.switchOver()
			}
		}
		for _, m := range w.f.Members {
			if m.Problem != "" || m.stale() || w.value[m.Pod] != w.asked {
				t.Fatalf("seed %d: finished with %+v, %d: %v", seed, m, w.value[m.Pod], w.log)
			}
		}
	}
}
