package observed

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

func at(l lsn.LSN) *lsn.LSN  { return &l }
func num(f float64) *float64 { return &f }
func up(end *lsn.LSN) *pg.Receiver {
	return &pg.Receiver{Status: "streaming", End: end, MessageAge: num(1), Timeout: 5}
}

func TestLag(t *testing.T) {
	silent := up(at(100))
	silent.MessageAge = num(9)
	for name, c := range map[string]struct {
		status  pg.Status
		leader  *lsn.LSN
		link    bool
		bytes   int64 // -1: unknown
		seconds float64
	}{
		"replica_link_dead_reports_unknown":      {pg.Status{InRecovery: true, Received: at(100), Replayed: at(100), ReplayAge: num(3)}, nil, false, -1, -1},
		"link_dead_but_the_record_is_fresh":      {pg.Status{InRecovery: true, Replayed: at(100), ReplayAge: num(3)}, at(150), false, 50, -1},
		"silent_link_is_not_up":                  {pg.Status{InRecovery: true, Receiver: silent, Replayed: at(100), ReplayAge: num(3)}, nil, false, -1, -1},
		"caught_up":                              {pg.Status{InRecovery: true, Receiver: up(at(100)), Replayed: at(100), ReplayAge: num(3000)}, nil, true, 0, 0},
		"behind":                                 {pg.Status{InRecovery: true, Receiver: up(at(300)), Replayed: at(100), ReplayAge: num(2)}, nil, true, 200, 2},
		"record_knows_more_than_the_upstream":    {pg.Status{InRecovery: true, Receiver: up(at(100)), Replayed: at(100), ReplayAge: num(2)}, at(130), true, 30, 2},
		"record_is_older_than_the_upstream":      {pg.Status{InRecovery: true, Receiver: up(at(300)), Replayed: at(300)}, at(130), true, 0, 0},
		"replayed_past_the_record":               {pg.Status{InRecovery: true, Replayed: at(300)}, at(130), false, 0, -1},
		"nothing_replayed_yet":                   {pg.Status{InRecovery: true, Receiver: up(at(300))}, nil, true, -1, -1},
		"nothing_was_ever_committed":             {pg.Status{InRecovery: true, Receiver: up(at(300)), Replayed: at(100)}, nil, true, 200, -1},
		"clocks_differ":                          {pg.Status{InRecovery: true, Receiver: up(at(300)), Replayed: at(100), ReplayAge: num(-4)}, nil, true, 200, 0},
		"upstream_has_not_told_its_position_yet": {pg.Status{InRecovery: true, Receiver: up(nil), Replayed: at(100)}, nil, true, -1, -1},
		"primary_has_none":                       {pg.Status{Current: at(9)}, at(10), false, -1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			l := LagOf(c.status, c.leader)
			bytes, seconds := int64(-1), -1.0
			if l.Bytes != nil {
				bytes = *l.Bytes
			}
			if l.Seconds != nil {
				seconds = *l.Seconds
			}
			if l.LinkUp != c.link || bytes != c.bytes || seconds != c.seconds {
				t.Errorf("got link %v, %d bytes, %v s; want %v, %d, %v", l.LinkUp, bytes, seconds, c.link, c.bytes, c.seconds)
			}
		})
	}
}

func TestRole(t *testing.T) {
	for name, c := range map[string]struct {
		s    Snapshot
		want Role
	}{
		"no_answer":               {Snapshot{Granted: true, Leader: true}, Unknown},
		"standby":                 {Snapshot{Server: &pg.Status{InRecovery: true}}, Replica},
		"leader_not_promoted_yet": {Snapshot{Granted: true, Leader: true, Server: &pg.Status{InRecovery: true}}, Replica},
		"primary":                 {Snapshot{Granted: true, Leader: true, Server: &pg.Status{}}, Primary},
		"writable_without_right":  {Snapshot{Leader: true, Server: &pg.Status{}}, Unknown},
	} {
		if got := c.s.Role(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
