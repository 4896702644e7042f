package judge

import (
	"reflect"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

func TestWritingServerWithoutARightIsStopped(t *testing.T) {
	writing := func(server grant.Server) func(*Facts) {
		return func(f *Facts) {
			f.Local.State.Server, f.Local.State.Phase = server, grant.Running
			f.Local.Previous = &grant.Grant{Role: grant.Primary, Epoch: at(2), Timeline: 2}
		}
	}
	check(t, map[string]row{
		"lost_the_record":         {held(other), writing(grant.Writable), want{role: grant.Stop, epoch: at(2), line: 2, says: "may write no longer"}},
		"lost_it_while_promoting": {held(other), writing(grant.Promoting), want{role: grant.Stop, epoch: at(2), line: 2}},
		"promoted_by_hand":        {held(other), func(f *Facts) { f.Local.State.Server = grant.Writable }, want{role: grant.Stop}},
		"its_own_reign_goes_on":   {held(me), writing(grant.Writable), want{role: grant.Primary, epoch: at(3), line: 3}},
		"standby_is_left_alone":   {held(other), writing(grant.Standby), want{role: grant.Replica}},
		// A take must not ride on the order to stop: the server is proven dead first.
		"free_record_is_not_taken_before_it_is_down": {held(early), func(f *Facts) {
			writing(grant.Writable)(f)
			f.Store.Expired, f.Store.Record.SystemID, f.Store.Record.Bootstrap = true, "", &record.Bootstrap{Member: "pvc-a"}
		}, want{role: grant.Stop, says: "may write no longer"}},
		"record_removed": {base(), writing(grant.Writable), want{role: grant.Stop, person: true}},
	})
	f := held(other)
	writing(grant.Writable)(&f)
	if !Judge(f).Fence {
		t.Error("stopped, but not at once")
	}
}

func TestReplicaGrant(t *testing.T) {
	f := held(other)
	f.Election.MaxDiscard, f.Store.Record.Reign, f.Store.Record.Opened, f.Store.Record.Lines = 1<<20, "reign-3", 3, ways
	g := Judge(f).Grant
	want := grant.Grant{Role: grant.Replica, Reason: g.Reason, Epoch: at(3), Timeline: 3, SystemID: systemID, Slot: "pgspan_pvc_a", SyncName: "pgspan_pvc_a",
		MayClone: true, MayRewind: true, MaxDiscard: 1 << 20, Version: epoch.Version{Epoch: at(3), Beat: 9}, Reign: "reign-3", Lines: ways}
	up := grant.Upstream{Member: "pvc-b", Name: "a-replica-0", Host: "a-replica-0.a-members", Address: "10.0.0.2", Port: 5432}
	if g.Upstream == nil || *g.Upstream != up {
		t.Fatalf("upstream: got %+v, want %+v", g.Upstream, up)
	}
	if g.Upstream = nil; !reflect.DeepEqual(g, want) {
		t.Errorf("got %+v, want %+v", g, want)
	}
}

func TestEnding(t *testing.T) {
	stopped := func(f *Facts) { f.Draining = true; f.Local.State.Phase = grant.Stopped }
	check(t, map[string]row{
		"server_up_goes_on":                 {held(me), func(f *Facts) { f.Draining = true; f.Local.State.Server = grant.Writable }, want{role: grant.Primary, epoch: at(3), line: 3}},
		"clean_stop_releases":               {held(me), stopped, want{role: grant.Stop, do: Release, epoch: at(3), line: 3}},
		"standby_has_nothing_to_release":    {held(other), stopped, want{role: grant.Stop, says: "the pod ends"}},
		"without_the_api":                   {base(), func(f *Facts) { stopped(f); f.Store = Store{Known: Unreachable} }, want{role: grant.Stop}},
		"no_initdb_while_ending":            {fresh(), func(f *Facts) { f.Draining = true }, want{role: grant.Stop}},
		"earlier_lifes_lease_is_left_alone": {held(early), func(f *Facts) { stopped(f); f.Store.Expired = true }, want{role: grant.Stop}},
	})
	f := held(me)
	stopped(&f)
	if v := Judge(f); !v.End {
		t.Error("got no end")
	}
}

func TestSlotNameIsOneThatPostgreSQLAllows(t *testing.T) {
	if got, want := SlotName("0a1B2c3d-AAAA-bbbb-cccc-0123456789ab"), "pgspan_0a1b2c3d_aaaa_bbbb_cccc_0123456789ab"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever the facts, a verdict never grants the right to write without a record in force, and a change of the record always goes to a
// later epoch, on a later timeline unless there never was any data.
func TestNoCombinationGrantsWithoutARecordInForce(t *testing.T) {
	servers := []grant.Server{grant.Down, grant.Standby, grant.Promoting, grant.Writable}
	phases := []grant.Phase{grant.Locking, grant.Waiting, grant.Running, grant.Stopped}
	n := 0
	for _, from := range []func() Facts{base, fresh, func() Facts { return held(me) }, func() Facts { return held(early) }, func() Facts { return held(other) }, orphaned, gaveBack} {
		for bits := range 1 << 12 {
			for _, server := range servers {
				for _, phase := range phases {
					f := from()
					on := func(i int) bool { return bits>>i&1 == 1 }
					f.Store.Expired, f.Draining, f.Local.Stale = on(0), on(1), on(2)
					f.Store.InForce = f.Store.Mine && on(3)
					f.Store.Record.Released = on(4) && !f.Store.Mine
					if on(5) {
						f.Adopt = f.Pod + "@1.3"
					}
					if on(6) {
						f.Store.Silent = time.Hour
					}
					if on(7) {
						f.Local.State.Volume.Empty = !f.Local.State.Volume.Empty
					}
					if on(8) {
						f.Store.Known = Unreachable
					}
					voted := on(9)
					if voted {
						f.Local.Standing = standing("pvc-a", "a-primary-0")
					} else {
						f.Local.Standing.Known = false
					}
					if replayed := f.Store.Record.LSN; on(10) {
						f.Local.Replayed = &replayed
					}
					if on(11) {
						synchronous(&f, 1, "pvc-a", "pvc-b")
					}
					f.Local.State.Server, f.Local.State.Phase = server, phase
					v, old := Judge(f), f.Store.Record
					n++
					if v.Grant.Role == grant.Primary && !f.Store.InForce {
						t.Fatalf("granted without force: %+v", f)
					}
					if v.Do == Take && (v.Record.Epoch.Compare(old.Epoch) <= 0 || v.Record.Timeline <= old.Timeline && !f.Local.State.Volume.Empty) {
						t.Fatalf("epoch %s timeline %d after %s %d: %+v", v.Record.Epoch, v.Record.Timeline, old.Epoch, old.Timeline, f)
					}
					if v.Do == Take && !f.Store.Mine && !old.Released && !f.Store.Expired {
						t.Fatalf("a record that is not free is taken: %+v", f)
					}
					if v.Do == Take && !f.Store.Mine && !old.Released && old.SystemID != "" && !voted {
						t.Fatalf("taken without a vote: %+v", f)
					}
					if v.Do == Take && old.Holder.Member != me.Member && server != grant.Standby {
						t.Fatalf("taken for a server that is no standby: %+v", f)
					}
					if v.Do == Take && (server == grant.Writable || server == grant.Promoting) {
						t.Fatalf("taken while a server writes: %+v", f)
					}
					if v.Do == Take && f.Draining {
						t.Fatalf("taken by a pod that ends: %+v", f)
					}
					if v.Do == Create && f.Store.Known != Absent {
						t.Fatalf("created over something: %+v", f)
					}
				}
			}
		}
	}
	if n < 400000 {
		t.Fatalf("only %d combinations were judged", n)
	}
}

// A refusal stood in the state file and in one container's log only.
func TestRefusedStartIsSomethingForAPerson(t *testing.T) {
	refuses := func(d time.Duration) func(*Facts) {
		return func(f *Facts) {
			f.Local.State.Phase, f.Local.State.Reason, f.Local.RefusedFor = grant.Refused, "diverged by 900 bytes: set failover.maxAutoDiscard", d
		}
	}
	check(t, map[string]row{
		"follower":                            {held(other), refuses(settled), want{role: grant.Replica, person: true, says: "leads in epoch 1.3; no server is started here: diverged by 900 bytes"}},
		"leader":                              {held(me), refuses(settled), want{role: grant.Primary, person: true, says: "set failover.maxAutoDiscard"}},
		"may_be_of_the_grant_before":          {held(other), refuses(settled - 1), want{role: grant.Replica, says: "leads"}},
		"was_refused_and_is_not_any_more":     {held(other), all(refuses(settled), func(f *Facts) { f.Local.State.Phase = grant.Waiting }), want{role: grant.Replica, says: "leads"}},
		"a_person_is_told_something_else":     {held(other), all(refuses(settled), func(f *Facts) { f.Local.State.Volume.SystemID = "1" }), want{role: grant.Wait, person: true, says: "another database"}},
		"the_record_is_free_and_it_can_claim": {fresh(), refuses(settled), want{role: grant.Wait, do: Create, epoch: at(1), line: 1}},
	})
}
