package keeping

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/members"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/quorum"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

func streams(member string, flushed lsn.LSN) pg.Standby {
	return pg.Standby{Name: grant.SlotName(member), OwnSlot: true, Streams: true, Flushed: &flushed, Counts: true}
}

// SAFETY rule 11: the record follows a list only when no process of the server goes by another one any more.
func TestListIsInForceOnlyWhenEveryProcessGoesByIt(t *testing.T) {
	want := grant.Sync{K: 1, Members: []string{"b"}}.Names()
	good := pg.Acks{Names: want, Flushed: 0x100, Idle: true, Standbys: []pg.Standby{streams("b", 0x100)}}
	with := func(change func(*pg.Acks)) pg.Acks {
		a := good
		a.Standbys = append([]pg.Standby(nil), good.Standbys...)
		change(&a)
		return a
	}
	type look struct {
		after time.Duration
		a     pg.Acks
	}
	for name, c := range map[string]struct {
		looks []look
		want  bool
	}{
		"agrees_for_long_enough":          {[]look{{0, good}, {settle, good}}, true},
		"agrees_once":                     {[]look{{settle, good}}, false},
		"agrees_not_for_long_enough":      {[]look{{0, good}, {settle - 1, good}}, false},
		"session_sees_the_list_of_before": {[]look{{0, good}, {settle / 2, with(func(a *pg.Acks) { a.Names = "" })}, {settle, good}}, false},
		"sender_was_not_told_yet":         {[]look{{0, good}, {settle / 2, with(func(a *pg.Acks) { a.Standbys[0].Counts = false })}, {settle, good}}, false},
		"sender_goes_by_the_old_list":     {[]look{{0, good}, {settle, with(func(a *pg.Acks) { a.Standbys = append(a.Standbys, streams("c", 1)) })}}, false},
		"one_that_has_said_nothing":       {[]look{{0, good}, {settle, with(func(a *pg.Acks) { a.Standbys = append(a.Standbys, pg.Standby{Name: "x", Counts: true}) })}}, true},
		"checkpointer_is_busy":            {[]look{{0, with(func(a *pg.Acks) { a.Idle = false })}, {settle, good}}, false},
		"checkpointer_is_busy_in_between": {[]look{{0, good}, {settle / 2, with(func(a *pg.Acks) { a.Idle = false })}, {settle, good}}, false},
		"a_checkpoint_later_is_no_matter": {[]look{{0, good}, {settle, good}, {settle, with(func(a *pg.Acks) { a.Idle = false })}}, true},
		"changed_behind_our_back":         {[]look{{0, good}, {settle, good}, {settle, with(func(a *pg.Acks) { a.Names = "" })}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var p syncing
			for _, l := range c.looks {
				p.prove(start.Add(l.after), want, l.a)
			}
			if p.inForce != c.want {
				t.Errorf("got %v, want %v", p.inForce, c.want)
			}
		})
	}
}

func TestWhatASynchronousStepRestsOn(t *testing.T) {
	r := record.Record{Epoch: at(3), Reign: "x", Holder: grant.Incarnation{Member: "a"}, Members: []record.Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}, Sync: &record.Sync{K: 1, Members: []string{"c", "b"}}}
	ordered := quorum.Set{K: 1, Members: []string{"b", "c"}}
	mode := settings.Synchronous{Mode: "any", Number: 1}
	acks := func(end lsn.LSN, standbys ...pg.Standby) pg.Acks {
		return pg.Acks{Names: grantOf(ordered).Names(), Flushed: end, Idle: true, Standbys: standbys}
	}
	var p syncing
	f := p.facts(start, life{PID: 7}, r, ordered, mode, acks(0x100, streams("b", 0x80)), nil)
	if f.Mode != quorum.Any || f.Leader != "a" || !f.Record.Equal(ordered) || len(f.Members) != 2 || f.InForce || p.covered {
		t.Errorf("first: got %+v, covered %v", f, p.covered)
	}
	if b, c := f.Members["b"], f.Members["c"]; !b.Streams || b.CaughtUp || c.Streams || c.Away != 0 {
		t.Errorf("first: got %+v %+v", b, c)
	}
	f = p.facts(start.Add(settle), life{PID: 7}, r, ordered, mode, acks(0x200, streams("b", 0x100)), nil)
	if b, c := f.Members["b"], f.Members["c"]; !f.InForce || b.CaughtUp || c.Away != settle || !p.covered {
		t.Errorf("in force: got %+v %+v %+v, covered %v; what the server began with is on one member, what it has written since is not", f, b, c, p.covered)
	}
	f = p.facts(start.Add(2*settle), life{PID: 7}, r, ordered, mode, acks(0x300, streams("b", 0x200)), nil)
	if !f.Members["b"].CaughtUp {
		t.Errorf("caught up: got %+v", f.Members["b"])
	}
	for name, standbys := range map[string][]pg.Standby{
		"two_of_one_name":          {streams("b", 0x900), streams("b", 0x100)},
		"clone_in_another_slot":    {func() pg.Standby { s := streams("b", 0x900); s.OwnSlot = false; return s }()},
		"has_not_caught_up_at_all": {func() pg.Standby { s := streams("b", 0x900); s.Streams = false; return s }()},
	} {
		q := syncing{}
		if f := q.facts(start, life{PID: 7}, r, ordered, mode, acks(0x100, standbys...), nil); f.Members["b"].Streams || q.covered {
			t.Errorf("%s: counts: %+v", name, f.Members["b"])
		}
	}
	f = p.facts(start.Add(3*settle), life{PID: 8}, r, ordered, mode, acks(0x400, streams("b", 0x300)), nil)
	if f.InForce || f.Members["b"].CaughtUp || p.covered {
		t.Errorf("another server: got %+v, covered %v", f, p.covered)
	}
	r.Sync = nil
	q := syncing{}
	if q.facts(start, life{PID: 7}, r, quorum.Nobody(), mode, acks(0x100), nil).Record != nil || q.covered {
		t.Error("no promise yet: the server counts as covered")
	}
	r.Sync = &record.Sync{}
	q = syncing{}
	if q.facts(start, life{PID: 7}, r, quorum.Nobody(), mode, acks(0x100), nil); q.covered {
		t.Error("nobody can acknowledge: the server counts as covered")
	}
	q = syncing{}
	if q.facts(start, life{PID: 7}, r, quorum.Set{}, mode, acks(0x100), nil); !q.covered {
		t.Error("the record says that nobody is waited for, and the server is still held back")
	}
}

func TestChangeOfThePromiseIsPendingUntilTheRecordShowsIt(t *testing.T) {
	set := &record.Sync{K: 1, Members: []string{"b"}}
	r := record.Record{Epoch: at(3)}
	n := news{epoch: at(3), sync: set, syncTold: true}
	if !n.syncPending(r) {
		t.Error("told and not written: not pending")
	}
	if n.apply(&r); r.Sync == nil || n.syncPending(r) {
		t.Errorf("written: %+v pending %v", r.Sync, n.syncPending(r))
	}
	n.sync = nil
	if !n.syncPending(r) {
		t.Error("taken away and not written: not pending")
	}
	if n.apply(&r); r.Sync != nil || n.syncPending(r) {
		t.Errorf("taken away: %+v", r.Sync)
	}
	r = record.Record{Epoch: at(3), Sync: set}
	news{epoch: at(3), lsn: 9}.apply(&r)
	if r.Sync != set {
		t.Error("news that say nothing of it took it away")
	}
	news{epoch: at(2), syncTold: true}.apply(&r)
	if r.Sync != set {
		t.Error("another epoch's news took it away")
	}
}

// A leader whose predecessor's set named nobody but itself must not go on without anybody in the moment before the others stream from it again.
func TestWhoWasHeardInTheElectionIsAboutToStream(t *testing.T) {
	r := record.Record{Epoch: at(3), Reign: "x", Holder: grant.Incarnation{Member: "a"}, Members: []record.Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}, Sync: &record.Sync{K: 1, Members: []string{"a"}}}
	var n known
	n.voters = n.votersWith(start, []judge.Standing{{Member: "b", Known: true}, {Member: "c"}})
	n.voters = n.votersWith(start.Add(time.Second), nil)
	voted := func(began boottime.Instant) quorum.Facts {
		p := syncing{}
		p.facts(began, life{PID: 7}, r, quorum.Nobody(), settings.Synchronous{Mode: "any", Number: 1}, pg.Acks{}, n.voters)
		return p.facts(began.Add(quorum.Patience), life{PID: 7}, r, quorum.Nobody(), settings.Synchronous{Mode: "any", Number: 1}, pg.Acks{}, n.voters)
	}
	if f := voted(start.Add(time.Second)); !f.Members["b"].Voted || f.Members["b"].Away != quorum.Patience || f.Members["c"].Voted {
		t.Errorf("got %+v, want b to have voted and c, whose position was not known, not", f.Members)
	}
	if f := voted(start.Add(voteAge)); f.Members["b"].Voted {
		t.Error("a vote of an earlier election counts")
	}
}

func TestPromiseOutlastsAModeThatWasNotMountedYet(t *testing.T) {
	off, own, strict := settings.Synchronous{}, settings.Synchronous{Mode: "any", Number: 1}, settings.Synchronous{Mode: "strict", Number: 2}
	written := &record.Sync{K: 2, Members: []string{"b", "c"}, Mode: "strict", Number: 2}
	began := start.Add(time.Hour)
	for name, c := range map[string]struct {
		own     settings.Synchronous
		sync    *record.Sync
		after   time.Duration // of the reign
		changed boottime.Instant
		want    settings.Synchronous
	}{
		"mount_is_older_than_the_record":          {off, written, time.Second, 0, strict},
		"mount_asks_for_less":                     {own, written, time.Second, 0, strict},
		"mount_has_had_its_time":                  {off, written, mountLag, 0, off},
		"mount_has_changed_in_this_reign":         {off, written, time.Second, began + 1, off},
		"mount_had_changed_before_this_reign":     {off, written, time.Second, began - 1, strict},
		"they_say_the_same":                       {strict, written, time.Second, 0, strict},
		"nothing_is_promised_yet":                 {own, nil, time.Second, 0, own},
		"promised_by_a_release_that_says_no_mode": {off, &record.Sync{K: 1, Members: []string{"b"}}, time.Second, 0, off},
	} {
		if got := modeOf(c.own, c.changed, record.Record{Sync: c.sync}, began, began.Add(c.after)); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestMemberThatStreamsAndIsNotHeard(t *testing.T) {
	up, down := quorum.Member{Streams: true, CaughtUp: true}, quorum.Member{Away: time.Second}
	silent := members.Hearing{Silent: members.Patience}
	type all = map[string]quorum.Member
	for name, c := range map[string]struct {
		all    all
		of     map[string]members.Hearing
		number int
		want   string // who counts as streaming
	}{
		"all_are_heard":                         {all{"b": up, "c": up}, nil, 1, "bc"},
		"one_is_not":                            {all{"b": up, "c": up}, map[string]members.Hearing{"c": silent}, 1, "b"},
		"for_a_moment":                          {all{"b": up, "c": up}, map[string]members.Hearing{"c": {Silent: members.Patience - 1}}, 1, "bc"},
		"both_are_asked_for":                    {all{"b": up, "c": up}, map[string]members.Hearing{"c": silent}, 2, "bc"},
		"no_keeper_can_be_reached":              {all{"b": up, "c": up}, map[string]members.Hearing{"b": silent, "c": silent}, 1, "bc"},
		"the_one_that_is_heard_does_not_stream": {all{"b": down, "c": up}, map[string]members.Hearing{"c": silent}, 1, "c"},
	} {
		got := withoutSilent(c.all, c.of, c.number)
		ids := ""
		for _, id := range []string{"b", "c"} {
			if got[id].Streams {
				ids += id
			} else if got[id].CaughtUp && got[id].Away < members.Patience {
				t.Errorf("%s: %s: got %+v, want it away for as long as it was not heard", name, id, got[id])
			}
			if got[id].CaughtUp != c.all[id].CaughtUp {
				t.Errorf("%s: %s: what it has on disk has changed", name, id)
			}
		}
		if ids != c.want {
			t.Errorf("%s: got %q, want %q", name, ids, c.want)
		}
	}
}

func TestSynchronousSetIsLookedAtQuicklyWhileClientsWait(t *testing.T) {
	kept, growing := &observed.Sync{InForce: true, Recorded: true}, &observed.Sync{InForce: true}
	for name, c := range map[string]struct {
		s                     *observed.Sync
		on, covered, changing bool
		want                  time.Duration
	}{
		"asynchronous":                          {nil, false, false, true, time.Second},
		"new leader":                            {nil, true, false, true, coverEvery},
		"new leader, nobody follows yet":        {kept, true, false, true, coverEvery},
		"nobody has followed for a long time":   {kept, true, false, false, 200 * time.Millisecond},
		"leads and serves, the list is growing": {growing, true, true, true, 200 * time.Millisecond},
		"at rest":                               {kept, true, true, false, time.Second},
		"at rest after a change":                {kept, true, true, true, time.Second},
		"mode is being switched off":            {growing, false, true, false, 200 * time.Millisecond},
	} {
		if got := syncPause(c.s, c.on, c.covered, c.changing); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
