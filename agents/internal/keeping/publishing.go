package keeping

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/publish"
)

// publisher makes known what this member is. Nothing waits for it; what fails is tried again until it is observed.
func (k *Keeper) publisher() func(context.Context) error {
	p := publish.New(k.o.API, k.settings.Release+"-rw", k.labels(), k.log)
	var last observed.Role
	var marked string // what the own pod and claim were last marked with
	var markedAt boottime.Instant
	return func(ctx context.Context) error {
		n := k.look()
		if n.member == "" {
			return nil
		}
		s := k.Snapshot()
		if r := s.Role(); r != last && r != observed.Unknown {
			k.events.Tell(false, map[observed.Role]string{observed.Primary: "BecamePrimary", observed.Replica: "BecameReplica"}[r],
				fmt.Sprintf("%s in epoch %s on timeline %d", r, s.Epoch, s.Timeline))
			last = r
		}
		var problems []error
		switch v := k.view(); {
		case !v.InForce(boottime.Now()):
		case !k.covered(n, v) && (!v.Confirmed() || n.handover != nil):
			// A process that has adopted the right does not know what the one before found out; and a leader that gives it away leaves the one change a
			// second that kube-proxy takes up to the next.
		case !k.covered(n, v) && k.systemID(n) != "":
			problems = append(problems, k.lead(ctx, p, n, true))
		case s.Role() == observed.Primary && k.covered(n, v):
			// First of all: clients wait for this one.
			problems = append(problems, k.lead(ctx, p, n, false))
			problems = append(problems, k.strip(ctx, n.pods))
			if v.Record.Sync == nil && n.state != nil { // nothing of what it has written so far was promised to be anywhere else
				life := lifeOf(*n.state, v.Record)
				if n.covered != life {
					k.change(func(n *known) { n.covered = life })
					k.remember(nil)
				}
			}
		case n.opens(v):
			problems = append(problems, k.lead(ctx, p, n, false))
		}
		key := fmt.Sprint(s.Role(), s.Leader, n.state != nil && n.state.Volume != nil, k.systemID(n), s.Epoch, s.Timeline)
		if key != marked || boottime.Now().Sub(markedAt) > 30*time.Second {
			err := errors.Join(k.markPod(ctx, s), k.markClaim(ctx, n, s))
			problems = append(problems, err)
			if err == nil {
				marked, markedAt = key, boottime.Now()
			}
		}
		err := errors.Join(problems...)
		if err != nil {
			time.AfterFunc(500*time.Millisecond, k.publishWake.up)
		}
		return err
	}
}

// opens reports whether a standby that serves sessions has the right to write and is about to be promoted. kube-proxy needs up to a second to take a
// change up (T-82), so the Service leads here at once: who comes sooner than the promotion is over reads, and writes in the same session from then on.
func (n known) opens(v lease.View) bool {
	s := n.state
	return v.Confirmed() && s != nil && (s.Server == grant.Standby || s.Server == grant.Promoting) && s.Phase == grant.Running && v.Record.SystemID != "" &&
		s.Volume != nil && s.Volume.SystemID == v.Record.SystemID
}

// lead makes the Service for writing lead here; held: makes it lead nowhere for now.
func (k *Keeper) lead(ctx context.Context, p *publish.Publisher, n known, held bool) error {
	v := k.view()
	addresses := []string{k.o.PodIP}
	for _, pod := range n.pods {
		if pod.Name == k.o.Pod && pod.UID == k.o.PodUID && len(pod.IPs) > 0 {
			addresses = pod.IPs // both families of a dual-stack pod
		}
	}
	w := publish.Writer{
		Pod: k.o.Pod, PodUID: k.o.PodUID, Node: k.o.Node, Addresses: addresses, Port: k.settings.Port,
		SystemID: k.systemID(n), Epoch: v.Record.Epoch, Held: held,
	}
	err := p.Lead(ctx, w, func() bool { return leads(k.view(), w, boottime.Now()) })
	if err == nil {
		k.change(func(n *known) {
			if held {
				n.published = epoch.Epoch{}
				return
			}
			if n.published != w.Epoch {
				n.publishedAt = boottime.Now()
				k.traceWake.up()
			}
			n.published = w.Epoch
		})
	}
	return err
}

// leads reports whether w may still be written to: the lease is in force, in that epoch of that database. A record has no database only
// until the first one has been made.
func leads(v lease.View, w publish.Writer, now boottime.Instant) bool {
	r := v.Record
	return v.InForce(now) && r.Epoch == w.Epoch && (r.SystemID == "" || r.SystemID == w.SystemID)
}

// strip takes the primary's labels from all other pods: a dead node's pod keeps its own (T-71).
func (k *Keeper) strip(ctx context.Context, pods []kube.Pod) error {
	var problems []error
	for _, pod := range pods {
		if pod.UID == k.o.PodUID || pod.Labels[publish.LabelRole] != string(observed.Primary) && pod.Labels[publish.LabelLeader] == "" {
			continue
		}
		m, _ := publish.Marks(pod.Object, map[string]string{publish.LabelRole: string(observed.Replica), publish.LabelLeader: ""}, nil)
		if err := k.o.API.MarkPod(ctx, pod.Name, pod.UID, m); err != nil && !kube.IsNotFound(err) && !kube.IsConflict(err) {
			problems = append(problems, err)
			continue
		}
		k.log.Info("primary's label taken from another pod", "pod", pod.Name)
	}
	return errors.Join(problems...)
}

// markPod sets labels and annotations of our own pod.
func (k *Keeper) markPod(ctx context.Context, s observed.Snapshot) error {
	pod, err := k.o.API.Pod(ctx, k.o.Pod)
	if err != nil {
		return err
	}
	if pod.UID != k.o.PodUID {
		return fmt.Errorf("mark pod %s: another pod has this name now", k.o.Pod)
	}
	labels := map[string]string{publish.LabelLeader: ""}
	if s.Leader {
		labels[publish.LabelLeader] = "true"
	}
	v := k.view()
	if role := roleLabel(s.Role(), pod.Labels[publish.LabelRole], v.Known == lease.Present && !v.Mine); role != "" {
		labels[publish.LabelRole] = role
	}
	annotations := map[string]string{publish.AnnotationMember: k.me().Member}
	if n := k.look(); n.state != nil && n.state.Volume != nil {
		annotations[publish.AnnotationVolume] = volumeData
		if n.state.Volume.Empty {
			annotations[publish.AnnotationVolume] = volumeEmpty
		}
	}
	m, changed := publish.Marks(pod.Object, labels, annotations)
	if !changed {
		return nil
	}
	return k.o.API.MarkPod(ctx, k.o.Pod, k.o.PodUID, m)
}

// roleLabel is what the label of our own pod shall say; empty: what it says. A pod that was the primary keeps that label until its server is a
// standby or the new leader takes the label away, which it does once the Service for writing leads to itself: kube-proxy takes changes up at
// most once a second, so a change of any other Service just before would make the one that clients wait for a second late.
func roleLabel(r observed.Role, present string, elsewhere bool) string {
	switch {
	case r != observed.Unknown:
		return string(r)
	case elsewhere && present != string(observed.Primary):
		return string(observed.Replica)
	}
	return ""
}

// systemID is that of the data on our own volume; empty while there is none.
func (k *Keeper) systemID(n known) string {
	if s := n.freshStatus(boottime.Now()); s != nil {
		return s.SystemID
	}
	if n.state != nil && n.state.Volume != nil && !n.state.Volume.Empty {
		return n.state.Volume.SystemID
	}
	return ""
}

// markClaim notes on the volume claim that there is data, of which database and of which epoch: a trace that outlives Lease and pods (rule 19).
func (k *Keeper) markClaim(ctx context.Context, n known, s observed.Snapshot) error {
	id := k.systemID(n)
	if id == "" || n.state == nil || n.state.Volume == nil {
		return nil
	}
	var e epoch.Epoch
	line := max(s.Timeline, n.state.Volume.Timeline)
	if n.state.Volume.SystemID == id || n.state.Volume.SystemID == "" {
		e = n.state.Volume.HighestEpoch
	}
	if v := k.view(); v.Known == lease.Present && v.Record.SystemID == id && v.Record.Epoch.Compare(e) > 0 {
		e = v.Record.Epoch
	}
	c, err := k.o.API.Claim(ctx, claimName(k.o.Pod))
	if err != nil {
		return err
	}
	if c.UID != n.member {
		return fmt.Errorf("mark volume claim %s: another claim has this name now", c.Name)
	}
	m, changed := publish.Marks(c.Object, nil, publish.Raised(c, id, e, line))
	if !changed {
		return nil
	}
	return k.o.API.MarkClaim(ctx, c.Name, c.UID, m)
}
