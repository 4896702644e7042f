package keeping

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/members"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// hearEvery is between two questions of a leader to the other keepers.
const hearEvery = 2 * time.Second

// hearing lets a leader know which members' keepers can be reached: those that are away must not be in the list when the API is, too.
func (k *Keeper) hearing() func(context.Context) error {
	return func(ctx context.Context) error {
		v := k.view()
		if !v.InForce(boottime.Now()) {
			k.change(func(n *known) { n.heardAt, n.unheard = nil, nil })
			return nil
		}
		all := members.With(v.Record.Members, k.look().unheard)
		answers := k.peers.Ask(ctx, all, k.me().Member, time.Second)
		now := boottime.Now()
		k.change(func(n *known) {
			heard := maps.Clone(n.heardAt)
			if heard == nil {
				heard = map[string]boottime.Instant{}
			}
			for _, m := range all {
				a, asked := answers[m.ID]
				if _, before := heard[m.ID]; !before || asked && a.Err == nil {
					heard[m.ID] = now
				}
			}
			n.heardAt = heard
		})
		return nil
	}
}

// silence is for how long each member's keeper has not answered; that its server may stream is of no use to who needs its promise or its vote.
// One that was never asked yet has just been heard.
func (k *Keeper) silence(n known, all []record.Member) map[string]time.Duration {
	now := boottime.Now()
	out := map[string]time.Duration{}
	for _, m := range all {
		at, asked := n.heardAt[m.ID]
		if !asked {
			continue
		}
		out[m.ID] = now.Sub(at)
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
