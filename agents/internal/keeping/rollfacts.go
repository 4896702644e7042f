package keeping

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/publish"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/rollout"
)

// rolloutFacts asks the API, all keepers and the server for what the next step of a rollout depends on.
func (k *Keeper) rolloutFacts(ctx context.Context, c *peers.Client, o *pg.Observer, v lease.View, order record.Rollout) rollout.Facts {
	n, now, r := k.look(), boottime.Now(), v.Record
	f := rollout.Facts{
		Order: order, Left: time.Duration(order.Left) - v.Unchanged(now), PauseLeft: judge.PauseLeft(r, v.Unchanged(now), n.lifted),
		Leads: v.InForce(now) && n.state != nil && n.state.Server == grant.Writable && n.freshStatus(now) != nil && r.Opened == r.Timeline && n.handover == nil,
	}
	if order.Step != nil { // what is left of it was counted when the record was written
		s := *order.Step
		s.Soak = max(0, s.Soak-record.Duration(v.Unchanged(now)))
		f.Order.Step = &s
	}
	if i, open := r.OpenIntent(); open {
		f.Intent = strings.TrimSuffix(fmt.Sprintf("the %s %s is under way: %s", i.Kind, i.ID, n.intentSaid), ": ")
	}
	if i, ok := r.Intent(switchID(order, r)); ok && i.State == record.Refused {
		f.Refused = i.Outcome
	}
	if n.state != nil && n.state.Volume != nil {
		f.Major = n.state.Volume.Major
	}
	s, err := k.settingsFile.Read()
	var senders []pg.Sender
	if err == nil && f.Leads {
		senders, err = o.Senders(ctx)
	}
	if err == nil {
		f.WantedMajor, f.Order.Settings = s.Major, cmp.Or(order.Settings, s.Fingerprint)
		f.Members, err = k.rolloutMembers(ctx, c, senders, r)
	}
	if err != nil {
		f.Unknown = err.Error()
	}
	return f
}

// rolloutMembers are the pods that the two sets ask for.
func (k *Keeper) rolloutMembers(ctx context.Context, c *peers.Client, senders []pg.Sender, r record.Record) ([]rollout.Member, error) {
	var sets [2]kube.Set
	var pods []kube.Pod
	var errs [3]error
	var all sync.WaitGroup
	for i, name := range []string{k.settings.Release + "-primary", k.settings.Release + "-replica"} {
		all.Go(func() { sets[i], errs[i] = k.o.API.Set(ctx, name) })
	}
	all.Go(func() { pods, errs[2] = k.o.API.Pods(ctx, publish.Selector(k.settings.Release)) })
	all.Wait()
	if kube.IsNotFound(errs[1]) {
		errs[1] = nil // a release without replicas may have no set for them
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	var out []rollout.Member
	for _, set := range sets {
		if set.Name == "" {
			continue
		}
		if set.Newest == "" {
			return nil, fmt.Errorf("the newest revision of StatefulSet %s is not known yet", set.Name)
		}
		for i := range set.Replicas {
			m := rollout.Member{Pod: fmt.Sprintf("%s-%d", set.Name, i), Target: set.Newest, Problem: "it has no pod"}
			if at := slices.IndexFunc(pods, func(p kube.Pod) bool { return p.Name == m.Pod }); at >= 0 {
				p := pods[at]
				m.ID, m.UID, m.Revision, m.Deleting = p.Annotations[publish.AnnotationMember], p.UID, p.Labels[kube.LabelRevision], p.Deleting
				m.Problem = podProblem(p)
			}
			out = append(out, m)
		}
	}
	for i := range out {
		all.Go(func() {
			m := &out[i]
			if m.Pod == k.o.Pod {
				m.ID, m.Leads, m.Problem = k.me().Member, true, ""
				fill(m, k.SiteStatus())
				return
			}
			_, m.Fenced = r.FencedMember(m.ID)
			p := slices.IndexFunc(pods, func(p kube.Pod) bool { return p.Name == m.Pod })
			if p < 0 || m.ID == "" || len(pods[p].IPs) == 0 {
				m.Problem = cmp.Or(m.Problem, "its keeper has not said which member it is")
				return
			}
			status, err := c.Status(ctx, record.Member{ID: m.ID, Pod: m.Pod, Host: k.host(m.Pod), Address: pods[p].IPs[0]})
			switch {
			case err != nil:
				m.Problem = cmp.Or(m.Problem, err.Error())
				return
			case status.Me.Pod != m.UID:
				m.Problem = "another pod of that name answers"
				return
			}
			fill(m, status)
			m.Problem = cmp.Or(replicaProblem(status, senders), m.Problem)
		})
	}
	all.Wait()
	return out, nil
}

// fill takes over what a member's keeper says of its server.
func fill(m *rollout.Member, s peers.Status) {
	m.Settings, m.Run, m.Pending, m.Raised, m.Unusable = s.Settings, s.Run, s.Pending, s.Raised, s.Unusable
}

func podProblem(p kube.Pod) string {
	switch {
	case p.Ready:
		return ""
	case p.Waiting != "":
		return "its pod is not ready: " + p.Waiting
	default:
		return "its pod is not ready"
	}
}

// replicaProblem says why a replica does not follow as it should, by its own word and by what its leader sees; empty: it does.
func replicaProblem(s peers.Status, senders []pg.Sender) string {
	if s.Server != grant.Standby || !s.Streaming {
		if s.Reason != "" {
			return "it does not stream: " + s.Reason
		}
		return "it does not stream"
	}
	if s.Paused {
		return "its replay is paused"
	}
	name := judge.SlotName(s.Me.Member)
	i := slices.IndexFunc(senders, func(p pg.Sender) bool { return p.Name == name && p.State == "streaming" })
	switch {
	case i < 0:
		return "its leader does not see it stream yet"
	case senders[i].Sent == nil || senders[i].Replayed == nil:
		return "how far it has come is not known"
	case senders[i].Sent.Sub(*senders[i].Replayed) > switchoverLag:
		return fmt.Sprintf("it lacks %d bytes, and %d are few enough", senders[i].Sent.Sub(*senders[i].Replayed), switchoverLag)
	}
	return ""
}
