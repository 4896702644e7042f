package keeping

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/members"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// hearEvery is between two questions of a leader to the other keepers.
const hearEvery = 2 * time.Second

// hearing lets a leader know which members' keepers can be reached: those that are away must not be in the list when the API is, too.
func (k *Keeper) hearing() func(context.Context) error {
	return func(ctx context.Context) error {
		v := k.view()
		if !v.InForce(boottime.Now()) {
			k.change(func(n *known) { n.heardAt, n.fit = nil, nil })
			return nil
		}
		answers := k.peers.Ask(ctx, v.Record.Known(), k.me().Member, time.Second)
		k.change(func(n *known) { n.hear(boottime.Now(), v.Record, answers) })
		if n := k.look(); !n.complete(boottime.Now(), v.Record, n.member, 1+k.replicas()) {
			k.surveyWake.up()
		}
		if lifted := liftedFences(v.Record, answers); len(lifted) > 0 {
			return k.unfence(ctx, lifted)
		}
		return nil
	}
}

// hear takes in one round of answers. A listed member that this leader has never heard has its full time from now on; one that is away is heard
// when it answers.
func (n *known) hear(now boottime.Instant, r record.Record, answers map[string]peers.Answer) {
	heard, fit := map[string]boottime.Instant{}, map[string]members.Fit{}
	for _, m := range r.Known() {
		at, before := n.heardAt[m.ID]
		a, asked := answers[m.ID]
		switch {
		case asked && a.Err == nil:
			heard[m.ID], fit[m.ID] = now, members.Unfit
			if a.Standing.Streaming && a.Standing.MayWin {
				fit[m.ID] = members.Able
			}
		case before:
			heard[m.ID], fit[m.ID] = at, n.fit[m.ID]
		case r.Listed(m.ID):
			heard[m.ID] = now
		}
	}
	n.heardAt, n.fit = heard, fit
}

// complete: as many members as there are to be are listed, and each but oneself was heard within two rounds.
func (n known) complete(now boottime.Instant, r record.Record, me string, members int) bool {
	if len(r.Members) != members || len(r.Away) > 0 {
		return false
	}
	return !slices.ContainsFunc(r.Members, func(m record.Member) bool {
		at, heard := n.heardAt[m.ID]
		return m.ID != me && (!heard || now.Sub(at) >= 2*hearEvery)
	})
}

// hearings is what is known of each member's keeper; that its server may stream is of no use to who needs its promise or its vote. One that was
// just found has just been heard; one that is away has not.
func (n known) hearings(now boottime.Instant, r record.Record, all []record.Member) map[string]members.Hearing {
	out := map[string]members.Hearing{}
	for _, m := range all {
		h := members.Hearing{Fit: n.fit[m.ID], Promised: r.Promised(m.ID)}
		at, asked := n.heardAt[m.ID]
		switch {
		case asked:
			h.Silent = now.Sub(at)
		case !r.Listed(m.ID) && slices.ContainsFunc(r.Away, func(a record.Member) bool { return a.ID == m.ID }):
			h.Silent = members.Patience
		}
		out[m.ID] = h
	}
	return out
}

func podsOf(list []record.Member) string {
	var out []string
	for _, m := range list {
		out = append(out, m.Pod)
	}
	return strings.Join(out, ", ")
}
