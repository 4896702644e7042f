package keeping

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

func at16(v lsn.LSN) *lsn.LSN { return &v }

// SAFETY rule 9 and D6: before the end of valid local WAL is certain, the member counts as not heard.
func TestPositionIsKnownOnlyAtTheEndOfLocalWAL(t *testing.T) {
	good := pg.Position{InRecovery: true, Waiting: true, Received: at16(0x100), Replayed: at16(0x100), SegmentSize: 16 << 20}
	with := func(change func(*pg.Position)) pg.Position {
		p := good
		change(&p)
		return p
	}
	type look struct {
		after time.Duration
		pid   int
		p     pg.Position
	}
	for name, c := range map[string]struct {
		looks []look
		want  bool
	}{
		"two_looks_agree":                  {[]look{{0, 7, good}, {apart, 7, good}}, true},
		"one_look_is_none":                 {[]look{{0, 7, good}}, false},
		"looks_too_close":                  {[]look{{0, 7, good}, {apart - 1, 7, good}}, false},
		"replay_goes_on":                   {[]look{{0, 7, with(func(p *pg.Position) { p.Replayed = at16(0x80) })}, {apart, 7, good}}, false},
		"another_server_between":           {[]look{{0, 7, good}, {apart, 8, good}}, false},
		"still_has_an_upstream":            {[]look{{0, 7, good}, {apart, 7, with(func(p *pg.Position) { p.Upstream = true })}}, false},
		"receiver_came_back_between":       {[]look{{0, 7, good}, {apart / 2, 7, with(func(p *pg.Position) { p.Receivers = 1 })}, {apart, 7, good}}, false},
		"startup_is_busy":                  {[]look{{0, 7, good}, {apart, 7, with(func(p *pg.Position) { p.Waiting = false })}}, false},
		"replay_is_paused":                 {[]look{{0, 7, good}, {apart, 7, with(func(p *pg.Position) { p.Paused = true })}}, false},
		"readers_hold_up_replay":           {[]look{{0, 7, good}, {apart, 7, with(func(p *pg.Position) { p.Conflict = true })}}, false},
		"nothing_replayed":                 {[]look{{0, 7, with(func(p *pg.Position) { p.Replayed = nil })}, {apart, 7, with(func(p *pg.Position) { p.Replayed = nil })}}, false},
		"no_standby":                       {[]look{{0, 7, good}, {apart, 7, with(func(p *pg.Position) { p.InRecovery = false })}}, false},
		"nothing_received_since_the_start": {[]look{{0, 7, with(func(p *pg.Position) { p.Received = nil })}, {apart, 7, with(func(p *pg.Position) { p.Received = nil })}}, true},
		"received_and_not_looked_at_again": {[]look{{0, 7, with(func(p *pg.Position) { p.Received = at16(0x120) })}, {rescan - 1, 7, with(func(p *pg.Position) { p.Received = at16(0x120) })}}, false},
		"half_a_record_received":           {[]look{{0, 7, with(func(p *pg.Position) { p.Received = at16(0x120) })}, {rescan, 7, with(func(p *pg.Position) { p.Received = at16(0x120) })}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var p prober
			known, problem, now := false, "", boottime.Instant(1e9)
			for _, l := range c.looks {
				known, problem = p.add(now.Add(l.after), l.pid, l.p)
			}
			if known != c.want || known != (problem == "") {
				t.Errorf("got %v %q, want %v", known, problem, c.want)
			}
		})
	}
}

// What is flushed may end within a record. A crash leaves that record out, and the record of the lease must not name an end that no volume
// has (it would look like storage that was set back).
func TestRecordNamesTheEndOfAWholeRecordOnDisk(t *testing.T) {
	var d durableEnd
	for i, c := range []struct{ inserted, flushed, want lsn.LSN }{
		{0x2100, 0x2100, 0x2100 - pageHeader},      // all on disk
		{0x5100, 0x4000, 0x2100 - pageHeader},      // in the middle of something: the last known end stays
		{0x5900, 0x58ff, 0x5100 - pageHeader},      // the one before is on disk now
		{0x6000 + 24, 0x6000, 0x6000},              // a page header is all that is missing
		{0x8000 + pageHeader, 0x8000 - 1, 0x6000},  // more than that is missing
		{0x8000 + pageHeader, 0x8000 + 80, 0x8000}, // the record ended at the page's end
	} {
		if got := d.add(c.inserted, c.flushed); got != c.want {
			t.Errorf("look %d: got %s, want %s", i, got, c.want)
		}
	}
}

// Between two votes a member may have streamed on: what was its end at the first is not its end at the second.
func TestPositionOfAnEarlierVoteIsNoneOfThisOne(t *testing.T) {
	vote := epoch.Version{Epoch: at(3), Beat: 7}
	later := epoch.Version{Epoch: at(3), Beat: 8}
	p := position{known: true, line: 3, at: 0x100, pid: 7, version: vote}
	for name, c := range map[string]struct {
		s    grant.State
		want bool
	}{
		"this_vote":      {grant.State{LastPID: 7, Vote: vote}, true},
		"a_later_vote":   {grant.State{LastPID: 7, Vote: later}, false},
		"another_server": {grant.State{LastPID: 8, Vote: vote}, false},
		"no_vote":        {grant.State{LastPID: 7}, false},
	} {
		if got, known := p.of(&c.s); known != c.want || got.known != c.want || !c.want && got.problem == "" {
			t.Errorf("%s: got %v %+v, want %v", name, known, got, c.want)
		}
	}
}

// A member that led, was rewound and leads again has less than it once told: the record must not name what was given up.
func TestEndOfAnEarlierReignIsForgotten(t *testing.T) {
	var d durableEnd
	d.of("a").add(0x5100, 0x5100)
	if got, want := d.of("a").add(0x5100, 0x5100), lsn.LSN(0x5100-pageHeader); got != want {
		t.Errorf("in one reign: got %s, want %s", got, want)
	}
	if got, want := d.of("b").add(0x2100, 0x2100), lsn.LSN(0x2100-pageHeader); got != want {
		t.Errorf("in the next: got %s, want %s", got, want)
	}
}

func TestReadersThatHoldUpAnElectionAreCancelledThenEnded(t *testing.T) {
	held, free := pg.Position{Conflict: true}, pg.Position{Waiting: true}
	type look struct {
		after time.Duration
		a     pg.Position
	}
	for name, c := range map[string]struct {
		looks          []look
		tell, sessions bool
	}{
		"nobody_holds_it_up":        {[]look{{0, free}}, false, false},
		"held_up":                   {[]look{{0, held}}, true, false},
		"cancelled_a_moment_ago":    {[]look{{0, held}, {obedience - 1, held}}, true, false},
		"cancelling_was_of_no_use":  {[]look{{0, held}, {obedience, held}}, true, true},
		"it_went_on_in_between":     {[]look{{0, held}, {1, free}, {obedience, held}}, true, false},
		"it_goes_on_after_all_that": {[]look{{0, held}, {obedience, held}, {obedience + 1, free}}, false, false},
	} {
		var p prober
		var tell, sessions bool
		for _, l := range c.looks {
			tell, sessions = p.readers(start.Add(l.after), l.a)
		}
		if tell != c.tell || sessions != c.sessions {
			t.Errorf("%s: got %v %v, want %v %v", name, tell, sessions, c.tell, c.sessions)
		}
	}
}
