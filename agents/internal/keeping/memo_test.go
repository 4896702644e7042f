package keeping

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// leaving is a keeper that leads by a confirmed record of two members.
func leaving(t *testing.T) *Keeper {
	t.Helper()
	k := &Keeper{o: Options{Control: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	if !k.remember(&record.Record{Holder: me, Epoch: at(3), Reign: "r", Members: []record.Member{{ID: me.Member}, {ID: "pvc-b"}}}) {
		t.Fatal("not noted")
	}
	return k
}

func granted() grant.Grant {
	return grant.Grant{Role: grant.Primary, Holder: me, Epoch: at(3), Reign: "r"}
}

// asks are those whom a keeper would ask to hold still.
func asks(k *Keeper, r record.Record) (ids string) {
	for _, m := range pleaList(r.Members, k.lists(r), me.Member) {
		ids += m.ID + " "
	}
	return ids
}

func TestNextProcessAsksAllWhomAWriteOfTheOneBeforeMayList(t *testing.T) {
	k := leaving(t)
	// A third member is listed by a write whose fate nobody knows: the process ends with it in flight.
	k.tellRecord(at(3), func(n *news) {
		n.members = []record.Member{{ID: me.Member}, {ID: "pvc-b"}, {ID: "pvc-c"}}
		n.lists = append(n.lists, n.members)
	})
	next := &Keeper{o: k.o, log: k.log}
	m, err := recall(k.o.Control, granted())
	if err != nil || m == nil {
		t.Fatalf("got %v, %v", m, err)
	}
	next.known.recalled, next.known.memo = m, *m
	if got := asks(next, m.Record); got != "pvc-b pvc-c " {
		t.Errorf("it asks %q", got)
	}
	// It takes one off the list, and ends before that is confirmed, too.
	next.tellRecord(at(3), func(n *news) {
		n.members = []record.Member{{ID: me.Member}}
		n.lists = append(n.lists, n.members)
	})
	third := &Keeper{o: k.o, log: k.log}
	if m, err = recall(k.o.Control, granted()); err != nil || m == nil {
		t.Fatalf("got %v, %v", m, err)
	}
	third.known.recalled = m
	if got := asks(third, m.Record); got != "pvc-b pvc-c " {
		t.Errorf("the process after that asks %q", got)
	}
	// A confirmed write ends all doubt.
	r := m.Record.Clone()
	r.Members = []record.Member{{ID: me.Member}, {ID: "pvc-c"}}
	third.remember(&r)
	if got := asks(third, r); got != "pvc-c " {
		t.Errorf("after a confirmed write it asks %q", got)
	}
}

func TestWhatIsNotOfTheGrantsReignIsNotRecalled(t *testing.T) {
	k := leaving(t)
	for name, change := range map[string]func(*grant.Grant){
		"another_epoch":       func(g *grant.Grant) { g.Epoch = at(4) },
		"another_reign":       func(g *grant.Grant) { g.Reign = "s" },
		"another_incarnation": func(g *grant.Grant) { g.Holder.Pod = "another" },
		"a_stop":              func(g *grant.Grant) { g.Role = grant.Stop },
	} {
		g := granted()
		change(&g)
		if m, err := recall(k.o.Control, g); m != nil || err != nil {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
	if m, err := recall(t.TempDir(), granted()); m != nil || err != nil {
		t.Errorf("nothing was noted: got %+v, %v", m, err)
	}
}

func TestListThatCannotBeNotedIsNotWritten(t *testing.T) {
	k := leaving(t)
	k.o.Control = filepath.Join(k.o.Control, "gone")
	if k.remember(nil) != true {
		t.Error("nothing has changed, and that is not written")
	}
	k.known.news = news{epoch: at(3), lists: [][]record.Member{{{ID: "pvc-c"}}}}
	if k.remember(nil) {
		t.Error("the list may be written although no next process would know of it")
	}
}

func TestMemoIsWrittenOnlyWhenItSaysMore(t *testing.T) {
	k := leaving(t)
	stat := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(k.o.Control, "memo"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	before := stat()
	r := k.known.memo.Record.Clone()
	r.Beat, r.LSN = 99, 12345
	k.remember(&r)
	if !os.SameFile(before, stat()) {
		t.Error("each renewal writes")
	}
	r.Duration = record.Duration(time.Minute)
	k.remember(&r)
	if os.SameFile(before, stat()) {
		t.Error("a longer duration is not noted")
	}
}

func TestGrantGoesOnByWhatIsRecalled(t *testing.T) {
	known := record.Record{Holder: me, Epoch: at(3), Reign: "r", Timeline: 3}
	granted := primary(3)
	granted.Reign = "r"
	for name, tt := range map[string]struct {
		change func(*lease.View)
		moves  bool
	}{
		"its_reign":              {func(*lease.View) {}, true},
		"another_reign":          {func(v *lease.View) { v.Recalled.Reign = "s" }, false},
		"another_epoch":          {func(v *lease.View) { v.Recalled.Epoch = at(4) }, false},
		"the_store_has_answered": {func(v *lease.View) { v.Known = lease.Absent }, false},
		"it_has_ended_meanwhile": {func(v *lease.View) { v.Deadline = start }, false},
		"nothing_is_known_of_it": {func(v *lease.View) { v.Recalled = nil }, false},
		"it_would_end_earlier":   {func(v *lease.View) { v.Deadline = start.Add(time.Second) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, t.TempDir())
			before := holding(3, start.Add(2*time.Second))
			before.Record.Reign = "r"
			r.must(granted, before)
			copied := known
			v := lease.View{Recalled: &copied, Deadline: start.Add(5 * time.Second)}
			tt.change(&v)
			r.renewed(v)
			want := start.Add(2 * time.Second)
			if tt.moves {
				want = start.Add(5 * time.Second)
			}
			if g := r.file(); g.Deadline != want || g.Role != grant.Primary {
				t.Errorf("got %s until %v, want %v", g.Role, g.Deadline, want)
			}
		})
	}
}

func TestWhoIsAskedByARestartedKeeper(t *testing.T) {
	mine := holding(3, start.Add(time.Second))
	mine.Trouble, mine.Record.Reign = "timeout", "r"
	noted := &memo{Record: record.Record{Epoch: at(3), Reign: "r"}}
	recalls := lease.View{Recalled: &noted.Record, Deadline: start.Add(time.Second), Trouble: "timeout"}
	confirmed, well, over := mine, mine, recalls
	confirmed.Renewals = 1
	well.Trouble = ""
	over.Deadline = start
	for name, tt := range map[string]struct {
		v      lease.View
		before *memo
		want   bool
	}{
		"confirmed":                              {confirmed, nil, true},
		"only_read":                              {mine, nil, false},
		"only_read_and_the_one_before_has_noted": {mine, noted, true},
		"only_read_and_another_reigns_note":      {mine, &memo{Record: record.Record{Epoch: at(3), Reign: "s"}}, false},
		"not_read_and_noted":                     {recalls, noted, true},
		"not_read_and_over":                      {over, noted, false},
		"no_trouble":                             {well, noted, false},
	} {
		if _, got := pleads(tt.v, tt.before, start); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// Two loops have news at once. Whoever comes second tells all that is known; what the first one had would take a list back that is in force by then.
func TestNewsAreToldInTheirOrder(t *testing.T) {
	k := leaving(t)
	l := lease.New(lease.Options{Me: me})
	k.loop.Store(l)
	lists := func(ids ...string) func(*news) {
		return func(n *news) {
			n.members = nil
			for _, id := range ids {
				n.members = append(n.members, record.Member{ID: id})
			}
			n.lists = append(n.lists, n.members)
		}
	}
	k.memoMu.Lock() // the first one waits until its list is noted
	var both sync.WaitGroup
	both.Go(func() { k.tellRecord(at(3), lists("first")) })
	for len(k.look().news.members) == 0 {
		time.Sleep(time.Millisecond)
	}
	both.Go(func() { k.tellRecord(at(3), lists("second")) })
	time.Sleep(50 * time.Millisecond) // the second one would be past its reading by now
	if m := k.look().news.members; len(m) != 1 || m[0].ID != "first" {
		t.Errorf("the second one has news of %v before the first has told its own", m)
	}
	k.memoMu.Unlock()
	both.Wait()
	r := record.Record{Holder: me, Epoch: at(3), Reign: "r"}
	l.ByHand().Carried().Record(&r)
	if len(r.Members) != 1 || r.Members[0].ID != "second" {
		t.Errorf("the record would list %v", r.Members)
	}
}

// A keeper that starts again beside a leader in synchronous mode must not take the Service for writing off it.
func TestNextProcessKnowsWhichServerWasCovered(t *testing.T) {
	k := leaving(t)
	server := grant.State{Server: grant.Writable, LastPID: 40, Began: start}
	r := record.Record{Reign: "r", Sync: &record.Sync{K: 1, Members: []string{"pvc-b"}}}
	k.known.covered = lifeOf(server, r)
	k.remember(nil)
	m, err := recall(k.o.Control, granted())
	if err != nil || m == nil {
		t.Fatalf("got %v, %v", m, err)
	}
	next := &Keeper{}
	n := known{state: &server, covered: m.Covered}
	if !next.covered(n, lease.View{Record: r}) {
		t.Errorf("it does not know %+v", m.Covered)
	}
	again := server
	again.Began = start.Add(time.Second)
	if n.state = &again; next.covered(n, lease.View{Record: r}) {
		t.Error("a server that was started since counts")
	}
}
