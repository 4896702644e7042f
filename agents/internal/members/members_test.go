package members

import (
	"slices"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func host(pod string) string { return Host(pod, "a", "ns", "cluster.local") }

func ids(list []record.Member) (out []string) {
	for _, m := range list {
		out = append(out, m.ID+"="+m.Address)
	}
	return out
}

func TestList(t *testing.T) {
	start := boottime.Instant(1000)
	l := List{TTL: time.Hour}
	listed := []record.Member{{ID: "one", Pod: "a-primary-0", Address: "10.0.0.1"}}
	step := func(after time.Duration, want []string, present ...Pod) {
		t.Helper()
		listed = l.Next(start.Add(after), listed, present, "one", 5432, host)
		if got := ids(listed); !slices.Equal(got, want) {
			t.Errorf("after %v: got %v, want %v", after, got, want)
		}
	}
	one, two := Pod{"a-primary-0", "one", "10.0.0.1"}, Pod{"a-replica-0", "two", "10.0.0.2"}
	step(0, []string{"one=10.0.0.1", "two=10.0.0.2"}, one, two, Pod{"a-pgpool-0", "", "10.0.0.9"}, Pod{"a-replica-1", "three", ""})
	if h := listed[1].Host; h != "a-replica-0.a-members.ns.svc.cluster.local" || listed[1].Port != 5432 {
		t.Errorf("got %+v", listed[1])
	}
	step(time.Minute, []string{"one=10.0.0.1", "two=10.0.0.2"}, one)                                                          // its pod restarts
	step(2*time.Minute, []string{"one=10.0.0.1", "two=10.0.0.2"}, one, Pod{"a-replica-0", "two", ""})                         // no address yet
	step(3*time.Minute, []string{"one=10.0.0.1", "two=10.0.0.7"}, one, Pod{"a-replica-0", "two", "10.0.0.7"})                 // came back elsewhere
	step(4*time.Minute, []string{"one=10.0.0.1", "two=10.0.0.7", "new=10.0.0.8"}, one, Pod{"a-replica-0", "new", "10.0.0.8"}) // the pod has another volume
	step(62*time.Minute, []string{"one=10.0.0.1", "two=10.0.0.7", "new=10.0.0.8"}, one, Pod{"a-replica-0", "new", "10.0.0.8"})
	step(64*time.Minute, []string{"one=10.0.0.1", "new=10.0.0.8"}, one, Pod{"a-replica-0", "new", "10.0.0.8"})
	step(10*time.Hour, []string{"one=10.0.0.1", "new=10.0.0.8"}, Pod{"a-replica-0", "new", "10.0.0.8"}) // never oneself
	// A keeper that has just started gives everybody the full time.
	l = List{TTL: time.Hour}
	step(20*time.Hour, []string{"one=10.0.0.1", "new=10.0.0.8"})
	step(21*time.Hour+time.Minute, []string{"one=10.0.0.1"})
}

func TestSlots(t *testing.T) {
	lost, reserved := "lost", "reserved"
	wanted := []record.Member{{ID: "one"}, {ID: "two"}, {ID: "three"}, {ID: "four"}, {ID: "five"}}
	start, l := boottime.Instant(1000), Slots{TTL: time.Hour}
	create, drop := l.Next(start, wanted, "one", []pg.Slot{
		{Name: "pgspan_one", Physical: true, WALStatus: &reserved},            // one's own
		{Name: "pgspan_two", Physical: true, WALStatus: &reserved},            // good
		{Name: "pgspan_three", Physical: true, WALStatus: &lost},              // made again
		{Name: "pgspan_four", Physical: true, Active: true, WALStatus: &lost}, // in use: left alone
		{Name: "pgspan_gone", Physical: true},                                 // nobody's that is known
		{Name: "pgspan_away", Physical: true, Active: true},                   // nobody's that is known, in use
		{Name: "pgspan_app", Physical: false},                                 // a logical one of the user's
		{Name: "pgspan_tmp", Physical: true, Temporary: true},                 // a clone at work
		{Name: "barman", Physical: true},                                      // the user's
	})
	if want := []string{"pgspan_five", "pgspan_three"}; !slices.Equal(create, want) {
		t.Errorf("create: got %v, want %v", create, want)
	}
	if want := []string{"pgspan_one", "pgspan_three"}; !slices.Equal(drop, want) {
		t.Errorf("drop: got %v, want %v", drop, want)
	}
}

// A slot that was dropped too early costs its member a clone. A leader, or a keeper, that has just begun does not know yet who there is.
func TestSlotIsDroppedOnlyAfterItsTime(t *testing.T) {
	start := boottime.Instant(1000)
	b, none := pg.Slot{Name: "pgspan_b", Physical: true}, []record.Member{{ID: "a"}}
	inUse := b
	inUse.Active = true
	with := []record.Member{{ID: "a"}, {ID: "b"}}
	type look struct {
		after  time.Duration
		wanted []record.Member
		slot   pg.Slot
	}
	for name, c := range map[string]struct {
		looks []look
		want  bool // dropped by the last look
	}{
		"keeper_has_just_begun":                   {[]look{{0, none, b}}, false},
		"not_long_enough":                         {[]look{{0, none, b}, {time.Hour, none, b}}, false},
		"long_enough":                             {[]look{{0, none, b}, {time.Hour + 1, none, b}}, true},
		"listed_again_in_between":                 {[]look{{0, none, b}, {time.Minute, with, b}, {time.Hour + 1, none, b}}, false},
		"used_in_between":                         {[]look{{0, none, b}, {time.Minute, none, inUse}, {time.Hour + 1, none, b}}, false},
		"used_now":                                {[]look{{0, none, b}, {2 * time.Hour, none, inUse}}, false},
		"standby_that_led_before":                 {[]look{{0, nil, b}, {time.Hour + 1, nil, b}}, true},
		"standby_that_led_before_and_leads_again": {[]look{{0, nil, b}, {time.Hour + 1, with, b}}, false},
		"wanted_and_unused_for_ever":              {[]look{{0, with, b}, {100 * time.Hour, with, b}}, false},
	} {
		l, dropped := Slots{TTL: time.Hour}, false
		for _, x := range c.looks {
			_, drop := l.Next(start.Add(x.after), x.wanted, "a", []pg.Slot{x.slot})
			dropped = len(drop) > 0
		}
		if dropped != c.want {
			t.Errorf("%s: got %v, want %v", name, dropped, c.want)
		}
	}
}
