package keeping

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/publish"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// pleaEvery is between two rounds of failsafe, pleaLimit what one may take. A right lasts several rounds.
	pleaEvery = 500 * time.Millisecond
	pleaLimit = time.Second
	// beatEvery is how often a member tries to write to the store for beatFor after it was asked for a promise; what it has written less than
	// beatFresh ago shows that it can.
	beatEvery = 2 * time.Second
	beatFor   = 10 * time.Second
	beatFresh = 5 * time.Second
	// volumeProof is how old the last sign may be that this pod has its volume, when a promise is made for it. It is longer than guard's word
	// may be old, and than the time between two of its writes to the volume.
	volumeProof = 10 * time.Second
	// ableFor is for how long another member must have been able to write to the store, and the leader not, before the leader gives way.
	ableFor = 20 * time.Second
)

// failsafe keeps a leader that cannot write to the store in its place as long as everybody who could take it promises not to (SAFETY rule 17).
func (k *Keeper) failsafe() func(context.Context) error {
	said := ""
	var able writers
	return func(ctx context.Context) error {
		v, now := k.view(), boottime.Now()
		r, may := pleads(v, k.look().recalled, now)
		if !may {
			able = nil
			k.change(func(n *known) { n.able = nil })
			if said != "" && v.Trouble == "" {
				k.log.Info("the store is written again")
			}
			said = ""
			return nil
		}
		listed := pleaList(r.Members, k.lists(r), k.me().Member)
		base := boottime.Now() // before the first request is sent
		answers := k.peers.Plead(ctx, listed, k.plea(r), pleaLimit)
		good, why := agreed(listed, answers, k.replicas())
		if good {
			if err := k.loop.Load().Prolong(base, r); err != nil {
				good, why = false, err.Error()
			}
		}
		if text := fmt.Sprint(good, why); text != said {
			said = text
			k.log.Warn("the store cannot be written", "goes_on", good, "reason", why, "error", v.Trouble)
		}
		able = able.add(boottime.Now(), answers)
		var to []string
		if good && v.Confirmed() {
			to = able.since(boottime.Now(), ableFor)
		}
		k.change(func(n *known) { n.able = to })
		if len(to) > 0 {
			k.handWake.up() // a hand-over takes longer to prepare than a round of this may
		}
		return nil
	}
}

// pleads reports whether a leader asks the others to hold still, and by which record. A process that has only read the record does not know its
// list: a write of the process before it may still land, and whoever that one lists would not be asked. So it asks those besides whom that one
// has noted, or nobody.
func pleads(v lease.View, before *memo, now boottime.Instant) (record.Record, bool) {
	switch {
	case v.Trouble == "":
		return record.Record{}, false
	case v.Recalls(now):
		return *v.Recalled, true
	case !v.InForce(now):
		return record.Record{}, false
	}
	return v.Record, v.Confirmed() || before != nil && before.Record.Epoch == v.Record.Epoch && before.Record.Reign == v.Record.Reign
}

func (k *Keeper) plea(r record.Record) peers.Plea {
	return peers.Plea{Leader: k.me(), Epoch: r.Epoch, Reign: r.Reign, Version: r.Version(), Duration: max(r.Duration, record.Duration(k.o.Timing.Duration))}
}

// writers are the members that can write to the store while the leader cannot, and since when.
type writers map[string]boottime.Instant

func (w writers) add(now boottime.Instant, answers map[string]peers.PromiseAnswer) writers {
	next := writers{}
	for id, a := range answers {
		if a.Err != nil || a.Promise.Wrote == nil || *a.Promise.Wrote > beatFresh.Seconds() {
			continue
		}
		if next[id] = now; w[id] != 0 {
			next[id] = w[id]
		}
	}
	return next
}

// since are those that have been able to for so long, sorted.
func (w writers) since(now boottime.Instant, d time.Duration) []string {
	var out []string
	for id, at := range w {
		if now.Sub(at) >= d {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// withdraw tells everybody who may have promised to hold still that there is nothing to hold still for. Whoever does not hear it waits until
// the promise lapses.
func (k *Keeper) withdraw(ctx context.Context, v lease.View) {
	p := k.plea(v.Record)
	p.Withdrawn = true
	k.peers.Plead(context.WithoutCancel(ctx), pleaList(v.Record.Members, k.lists(v.Record), k.me().Member), p, pleaLimit)
}

// pleaList is everybody who may be in the record's list, but for the leader: as long as a change of the list is not confirmed, either may count.
func pleaList(listed []record.Member, unconfirmed [][]record.Member, self string) []record.Member {
	var out []record.Member
	for _, list := range append([][]record.Member{listed}, unconfirmed...) {
		for _, m := range list {
			if m.ID != self && !slices.ContainsFunc(out, func(o record.Member) bool { return o.ID == m.ID }) {
				out = append(out, m)
			}
		}
	}
	return out
}

// agreed reports whether all who could take the record have promised not to, and at least one of them is there to do so. With no other
// member expected and none listed, only another life of this very volume could, and the volume's lock keeps that from it.
func agreed(listed []record.Member, answers map[string]peers.PromiseAnswer, replicas int) (bool, string) {
	if len(listed) == 0 {
		return replicas == 0, "no other member is listed"
	}
	var not []string
	for _, m := range listed {
		switch a, asked := answers[m.ID]; {
		case !asked:
			not = append(not, m.Pod+" was not asked")
		case a.Err != nil:
			not = append(not, a.Err.Error())
		case !a.Promise.Given:
			not = append(not, m.Pod+" does not: "+a.Promise.Why)
		}
	}
	if len(not) > 0 {
		return false, "not all members promise to hold still: " + strings.Join(not, "; ")
	}
	return true, fmt.Sprintf("all %d other members promise to hold still", len(listed))
}

// lists are the lists of members that may have been written since the last confirmed write.
func (k *Keeper) lists(r record.Record) [][]record.Member { return unconfirmed(k.look(), r) }

// promise answers a leader that cannot write to the store.
func (k *Keeper) promise(p peers.Plea) peers.Promise {
	n, v, now := k.look(), k.view(), boottime.Now()
	k.change(func(n *known) { n.pleaAt = now })
	k.beatWake.up()
	out := peers.Promise{Me: k.me()}
	if n.wroteAt != 0 {
		ago := now.Sub(n.wroteAt).Seconds()
		out.Wrote = &ago
	}
	l := k.loop.Load()
	if p.Withdrawn && l != nil {
		l.Withdrawn(p.Leader)
		k.judgeWake.up()
		out.Why = "withdrawn"
		return out
	}
	switch why := withoutVolume(n.state, now); {
	case l == nil:
		out.Why = "it does not know which member it is"
	case why != "":
		out.Why = why
	case n.state.Volume != nil && n.state.Volume.HighestEpoch.Compare(p.Epoch) > 0:
		out.Why = fmt.Sprintf("its volume has seen epoch %s", n.state.Volume.HighestEpoch)
	default:
		out.Why = refusal(v, p)
	}
	if out.Why != "" {
		return out
	}
	if err := l.Promise(p.Leader, p.Epoch, now.Add(time.Duration(p.Duration))); err != nil {
		out.Why = err.Error()
		return out
	}
	out.Given = true
	return out
}

// withoutVolume says why this pod cannot promise anything for its member, which is a volume: the next pod of that volume knows of no promise. Empty: its
// guard or seed has the lock, and the volume is still attached here. A pod on a node that is cut off may go on for long after its volume was given
// to another.
func withoutVolume(s *grant.State, now boottime.Instant) string {
	switch {
	case s == nil || now.Sub(s.Beat) > stateAge:
		return "nobody reports that it has its volume"
	case s.Phase == grant.Locking:
		return "its volume is held by another: " + s.Reason
	case s.Disk != nil && (s.Disk.Problem != "" || now.Sub(s.Disk.At) > volumeProof):
		return "its volume does not answer"
	}
	return ""
}

// boundByAnotherLife reports whether an earlier pod of this volume may still have promised not to take the record: as long as that one could show that it
// has the volume, and for the record's duration after that. had is for how long this pod has had the volume. The leader's own member has promised
// nothing to itself, and who has given the record back needs no promise any more.
func boundByAnotherLife(v lease.View, me grant.Incarnation, had time.Duration) bool {
	return !v.Record.Free() && v.Record.Holder.Member != me.Member && had < time.Duration(v.Record.Duration)+volumeProof
}

// replicas is how many the settings ask for, as they are now.
func (k *Keeper) replicas() int {
	s, err := k.settingsFile.Read()
	if err != nil {
		return k.settings.Members.Replicas
	}
	return s.Members.Replicas
}

// refusal says what this member knows of the record that speaks against a leader's plea; empty: nothing. One that knows no record can promise as
// well as any other.
func refusal(v lease.View, p peers.Plea) string {
	r := v.Record
	if v.Known != lease.Present {
		return ""
	}
	switch c := r.Epoch.Compare(p.Epoch); {
	case c > 0:
		return fmt.Sprintf("the record is of epoch %s", r.Epoch)
	case c == 0 && (r.Holder != p.Leader || r.Reign != p.Reign):
		return "the record names another leader of this epoch"
	case c == 0 && r.Free():
		return "the record was given back"
	}
	return ""
}

// beating writes to the store while a leader asks for promises, so that the answers can say whether this member could do what the leader
// cannot (SAFETY D30). Without a leader in trouble nothing is written.
func (k *Keeper) beating() func(context.Context) error {
	count := 0
	return func(ctx context.Context) error {
		if n := k.look(); n.pleaAt == 0 || boottime.Now().Sub(n.pleaAt) > beatFor {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, beatEvery)
		defer cancel()
		count++
		text := fmt.Sprint(count)
		err := k.o.API.MarkPod(ctx, k.o.Pod, k.o.PodUID, kube.Marks{Annotations: map[string]*string{publish.AnnotationBeat: &text}})
		if err == nil {
			// Whoever may write to its pod may still be refused the record: by a policy, or because a right was taken away.
			err = k.o.Lease.TryLease(ctx, k.settings.Release)
		}
		if err != nil {
			return fmt.Errorf("write to the store: %w", err)
		}
		k.change(func(n *known) { n.wroteAt = boottime.Now() })
		return nil
	}
}
