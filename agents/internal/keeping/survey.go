package keeping

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/members"
	"github.com/pgspan/pgspan/agents/internal/publish"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// surveyEvery: whoever leads looks for new members, less often while all that there are to be were just heard, since what is gone is missed by
// ear first; who waits looks for what would let it go on; a settled replica hardly looks.
func (k *Keeper) surveyEvery() time.Duration {
	n, v := k.look(), k.view()
	switch {
	case n.member == "":
		return 500 * time.Millisecond
	case v.Mine && n.complete(boottime.Now(), v.Record, n.member, 1+k.replicas()):
		return 5 * time.Second
	case v.Mine:
		return 2 * time.Second
	case n.status != nil:
		return 10 * time.Second
	default:
		return time.Second
	}
}

// survey asks the API which volumes and pods the release has.
func (k *Keeper) survey(ctx context.Context) error {
	n := k.look()
	if n.member == "" || n.claim.Name == "" {
		c, err := k.o.API.Claim(ctx, claimName(k.o.Pod))
		if err != nil {
			return err
		}
		k.change(func(n *known) { n.member, n.claim = c.UID, c })
		k.log.Info("member known", "member", c.UID, "claim", c.Name)
		k.judgeWake.up()
	}
	v := k.view()
	mine := v.Mine
	// Who follows a leader that lives, or leads, has no use for the list of volumes.
	settled := n.others.Known && (mine || n.status != nil && !v.Expired(boottime.Now()))
	pods, podsErr := k.o.API.Pods(ctx, publish.Selector(k.settings.Release))
	if podsErr == nil {
		k.change(func(n *known) { n.pods = pods })
	}
	var claims []kube.Claim
	var claimsErr error
	if !settled {
		claims, claimsErr = k.o.API.Claims(ctx, publish.LabelCluster+"="+k.settings.Release)
	}
	if err := errors.Join(podsErr, claimsErr); err != nil {
		if !settled {
			k.change(func(n *known) { n.others.Known = false }) // what was heard once may no longer be so
		}
		return err
	}
	if claims != nil {
		// Every pod has a claim, so a list without one's own means a wrong label and not an empty release.
		if !slices.ContainsFunc(claims, func(c kube.Claim) bool { return c.UID == k.me().Member }) {
			return fmt.Errorf("list volume claims: the pod's own claim %s has no label %s=%s", claimName(k.o.Pod), publish.LabelCluster, k.settings.Release)
		}
		others := othersOf(pods, claims)
		k.change(func(n *known) { n.others = others })
		k.judgeWake.up()
	}
	if mine {
		k.listMembers(pods)
	}
	return nil
}

// othersOf sorts what the API says of the release's volumes and pods.
func othersOf(pods []kube.Pod, claims []kube.Claim) judge.Others {
	o := judge.Others{Known: true}
	for _, c := range claims {
		id, e, line := publish.Claim(c)
		o.Volumes = append(o.Volumes, judge.Volume{Member: c.UID, Pod: strings.TrimPrefix(c.Name, "data-"), SystemID: id, Epoch: e, Timeline: line})
	}
	for _, p := range pods {
		switch p.Annotations[publish.AnnotationVolume] {
		case volumeData:
			o.WithData = append(o.WithData, p.Name)
		case volumeEmpty:
			o.Empty = append(o.Empty, p.Name)
		}
	}
	return o
}

// Values of the annotation that says what seed found on a pod's volume.
const (
	volumeData  = "data"
	volumeEmpty = "empty"
)

// listMembers brings the record's list up to date.
func (k *Keeper) listMembers(pods []kube.Pod) {
	v := k.view()
	if v.Known != lease.Present || !v.Mine {
		return
	}
	present := make([]members.Pod, 0, len(pods))
	for _, p := range pods {
		m := members.Pod{Name: p.Name, Member: p.Annotations[publish.AnnotationMember]}
		if len(p.IPs) > 0 && !p.Deleting {
			m.Address = p.IPs[0]
		}
		if p.Name == k.o.Pod {
			m.Member = k.me().Member // our own annotation may not be there yet
		}
		present = append(present, m)
	}
	n, r := k.look(), v.Record
	all := k.memberList.Next(boottime.Now(), r.Known(), present, k.me().Member, k.settings.Port, k.host)
	for _, m := range r.Known() { // those by whom commits are counted outlast even their pods
		if r.Promised(m.ID) && !slices.ContainsFunc(all, func(a record.Member) bool { return a.ID == m.ID }) {
			all = append(all, m)
		}
	}
	list, away := members.Heard(all, k.me().Member, n.hearings(boottime.Now(), r, all))
	if text := podsOf(away); text != podsOf(r.Away) {
		k.log.Info("members that are not heard are taken out of the record's list", "pods", text)
	}
	k.tellRecord(v.Record.Epoch, func(n *news) {
		n.members, n.away = list, away
		if last := len(n.lists) - 1; last < 0 || !reflect.DeepEqual(n.lists[last], list) {
			n.lists = append(slices.Clip(n.lists), list)
		}
	})
}
