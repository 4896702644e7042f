package keeping

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

func TestSinceWhenAStandbyReceivesNothing(t *testing.T) {
	from := func(name string) *grant.Grant {
		return &grant.Grant{Role: grant.Replica, Upstream: &grant.Upstream{Name: name}}
	}
	age := 0.1
	quiet, streams := pg.Status{InRecovery: true}, pg.Status{InRecovery: true, Receiver: &pg.Receiver{Status: "streaming", MessageAge: &age}}
	type look struct {
		after time.Duration
		s     pg.Status
		g     *grant.Grant
	}
	const minute = judge.MuteAfter
	for name, c := range map[string]struct {
		looks []look
		want  bool // it is asked why
	}{
		"streams":                               {[]look{{0, streams, from("a")}, {minute, streams, from("a")}}, false},
		"nothing_for_a_moment":                  {[]look{{0, quiet, from("a")}, {minute - 1, quiet, from("a")}}, false},
		"nothing_for_a_minute":                  {[]look{{0, quiet, from("a")}, {minute, quiet, from("a")}}, true},
		"one_look_met_a_receiver_being_refused": {[]look{{0, quiet, from("a")}, {30 * time.Second, streams, from("a")}, {minute, quiet, from("a")}}, true},
		"it_streamed_in_between":                {[]look{{0, quiet, from("a")}, {1, streams, from("a")}, {2, streams, from("a")}, {minute, quiet, from("a")}}, false},
		"another_leader":                        {[]look{{0, quiet, from("a")}, {minute - 1, quiet, from("b")}, {minute, quiet, from("b")}}, false},
		"it_votes":                              {[]look{{0, quiet, from("a")}, {minute - 1, quiet, &grant.Grant{Role: grant.Replica}}, {minute, quiet, from("a")}}, false},
		"it_leads":                              {[]look{{0, quiet, from("a")}, {minute, pg.Status{}, &grant.Grant{Role: grant.Primary}}}, false},
		"nothing_was_granted":                   {[]look{{0, quiet, nil}, {minute, quiet, nil}}, false},
	} {
		var m mute
		var now boottime.Instant
		for _, l := range c.looks {
			now = start.Add(l.after)
			m = m.look(now, l.s, l.g)
		}
		if got := m.due(now); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		if m.asked = now; m.due(now.Add(muteEvery-1)) || c.want && !m.due(now.Add(muteEvery)) {
			t.Errorf("%s: asked too often, or never again", name)
		}
	}
}
