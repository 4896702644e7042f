package orders

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// plenty is for what must succeed, however busy the machine is.
const plenty = 30 * time.Second

const host = "db-members.ns.svc.cluster.local"

// keepers are the real servers of package peers, each on its own address of loopback and with what it says and takes given by the test.
type keepers struct {
	t      *testing.T
	site   *Site
	mu     sync.Mutex
	said   map[string]*peers.Status
	order  func(pod string, verb peers.Verb, o peers.Order) peers.Receipt
	orders []string // "<pod> <verb>", in the order in which they came
	stop   map[string]func()
}

func at(local uint64) epoch.Epoch { return epoch.Epoch{Site: 1, Local: local} }

func start(t *testing.T, pods ...string) *keepers {
	t.Helper()
	bundle, err := sitecerts.Generate(sitecerts.Spec{Sites: []sitecerts.Site{{Fullname: "db", Namespaces: []string{"ns"}, ClusterDomain: "cluster.local"}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range bundle.Shared() {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := &keepers{t: t, said: map[string]*peers.Status{}, stop: map[string]func(){}}
	port := freePort(t)
	var addresses []string
	for n, pod := range pods {
		address := fmt.Sprintf("127.0.0.%d", n+1)
		addresses = append(addresses, address)
		k.said[pod] = &peers.Status{Me: grant.Incarnation{Member: "volume-" + pod}, Pod: pod, Known: "present", Phase: grant.Running, Server: grant.Standby, Role: "replica"}
		server := peers.New(peers.Options{
			Listen: net.JoinHostPort(address, port), TLSDir: dir, Log: slog.New(slog.DiscardHandler),
			Standing: func() peers.Standing { return peers.Standing{} }, Nudge: func(grant.Incarnation, epoch.Version) {},
			Status: func() peers.Status {
				k.mu.Lock()
				defer k.mu.Unlock()
				return *k.said[pod]
			},
			Order: func(_ context.Context, verb peers.Verb, o peers.Order) peers.Receipt {
				k.mu.Lock()
				defer k.mu.Unlock()
				k.orders = append(k.orders, pod+" "+string(verb))
				return k.order(pod, verb, o)
			},
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); server.Run(ctx) }()
		k.stop[pod] = func() { cancel(); <-done }
		t.Cleanup(k.stop[pod])
	}
	if k.site, err = NewSite([]string{host + ":" + port}, dir, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.site.Close)
	k.site.resolve = func(_ context.Context, name string) ([]string, error) {
		if name != host {
			return nil, fmt.Errorf("%s is asked for", name)
		}
		return addresses, nil
	}
	for end := time.Now().Add(plenty); ; time.Sleep(10 * time.Millisecond) {
		if v, err := k.site.Look(context.Background()); err == nil && len(v.Heard) == len(pods) {
			return k
		}
		if time.Now().After(end) {
			t.Fatal("the keepers do not answer")
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// recorded is a record of an epoch that a pod leads in.
func recorded(e epoch.Epoch, beat uint64) *record.Record {
	return &record.Record{Format: 1, Epoch: e, Beat: beat, Timeline: uint32(e.Local), Members: []record.Member{
		{ID: "volume-db-primary-0", Pod: "db-primary-0"}, {ID: "volume-db-replica-0", Pod: "db-replica-0"}, {ID: "volume-db-replica-1", Pod: "db-replica-1"}}}
}

// leads makes a pod the leader by its own word, and all know the record. The caller holds mu.
func (k *keepers) leads(pod string, r *record.Record) {
	for name, s := range k.said {
		s.Record, s.Leads, s.Role, s.Server = r, name == pod, "replica", grant.Standby
	}
	s := k.said[pod]
	s.Role, s.Server, s.Published = "primary", grant.Writable, r.Epoch
}

func (k *keepers) locked(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

func (k *keepers) carry(verb peers.Verb, o peers.Order, wait bool, limit time.Duration) Result {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	o.ID = "one"
	return k.site.Carry(ctx, verb, o, wait)
}

func wants(t *testing.T, got Result, code int, says string) {
	t.Helper()
	if got.Code != code || !strings.Contains(got.Sentence, says) || strings.Contains(got.Sentence, "\n") {
		t.Errorf("got %d, %q; want %d, %q", got.Code, got.Sentence, code, says)
	}
}

// three are the pods of a site.
var three = []string{"db-primary-0", "db-replica-0", "db-replica-1"}

func TestSwitchoverIsDoneWhenItIsSeen(t *testing.T) {
	k := start(t, three...)
	next := recorded(at(4), 1)
	k.locked(func() { k.leads("db-primary-0", recorded(at(3), 9)) })
	k.order = func(_ string, _ peers.Verb, o peers.Order) peers.Receipt {
		if o.Epoch != at(3) || o.Pod != "db-replica-1" {
			t.Errorf("got %+v", o)
		}
		next.Intend(record.Intent{ID: o.ID, State: record.Done, Outcome: "db-replica-1 leads"})
		go func() {
			k.locked(func() { k.leads("db-replica-1", next); k.said["db-replica-1"].Published = at(3) })
			time.Sleep(2 * lookEvery) // settled, and clients do not find it yet
			k.locked(func() { k.leads("db-replica-1", next) })
		}()
		return peers.Receipt{State: peers.Accepted, Reason: "handing over to db-replica-1"}
	}
	wants(t, k.carry(peers.Switchover, peers.Order{Pod: "db-replica-1"}, true, plenty), ExitDone, "db-replica-1 leads in epoch 1.4 on timeline 4, and the Service for writing leads to it")
	if got := strings.Join(k.orders, ","); got != "db-primary-0 switchover" {
		t.Errorf("orders: %s, want one to the leader", got)
	}
	if v, _ := k.site.Look(t.Context()); v.Heard[2].Published != at(4) {
		t.Error("it was done before the Service led there")
	}
}

func TestSwitchoverThatEndsOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		receipt peers.Receipt
		intent  *record.Intent
		wait    bool
		code    int
		says    string
	}{
		"refused_at_once":         {peers.Receipt{State: peers.Refused, Reason: "there is no member db-replica-9"}, nil, true, ExitRefused, "no member db-replica-9"},
		"refused_later":           {peers.Receipt{State: peers.Accepted}, &record.Intent{State: record.Refused, Outcome: "its time is over: a lags"}, true, ExitRefused, "its time is over: a lags"},
		"not_done_in_time":        {peers.Receipt{State: peers.Accepted}, &record.Intent{State: record.Open}, true, ExitTimeout, "db-primary-0 still leads, in epoch 1.3"},
		"forgotten":               {peers.Receipt{State: peers.Accepted}, nil, true, ExitTimeout, "does not know the intent"},
		"never_taken":             {peers.Receipt{State: peers.Unavailable, Reason: "whether it is known is not"}, nil, true, ExitTimeout, "not taken by a leader in time: whether it is known is not"},
		"leads_already":           {peers.Receipt{State: peers.Done, Reason: "db-primary-0 leads already"}, nil, true, ExitDone, "leads already"},
		"nobody_waits":            {peers.Receipt{State: peers.Accepted, Reason: "handing over"}, &record.Intent{State: record.Open}, false, ExitDone, "accepted: handing over"},
		"nobody_waits_for_a_no":   {peers.Receipt{State: peers.Refused, Reason: "no"}, nil, false, ExitRefused, "no"},
		"dry_run_would":           {peers.Receipt{State: peers.Would, Reason: "would be handing over"}, nil, true, ExitDone, "dry run: would be handing over"},
		"answer_from_the_future_": {peers.Receipt{State: "postponed", Reason: "later"}, nil, true, ExitTimeout, "later"},
	} {
		t.Run(name, func(t *testing.T) {
			k := start(t, three[:1]...)
			r := recorded(at(3), 9)
			if c.intent != nil {
				c.intent.ID = "one"
				r.Intend(*c.intent)
			}
			k.locked(func() { k.leads("db-primary-0", r) })
			k.order = func(string, peers.Verb, peers.Order) peers.Receipt { return c.receipt }
			limit := plenty
			if c.code == ExitTimeout {
				limit = 3 * giveEvery
			}
			wants(t, k.carry(peers.Switchover, peers.Order{}, c.wait, limit), c.code, c.says)
		})
	}
}

func TestOrderIsGivenAgainWithTheSameEpochUntilALeaderTakesIt(t *testing.T) {
	k := start(t, three...)
	var epochs []epoch.Epoch
	k.locked(func() { k.leads("db-primary-0", recorded(at(3), 9)); k.said["db-primary-0"].Leads = false })
	k.order = func(_ string, _ peers.Verb, o peers.Order) peers.Receipt {
		if epochs = append(epochs, o.Epoch); len(epochs) < 3 {
			k.leads("db-replica-0", recorded(at(4), 1))
			return peers.Receipt{State: peers.Unavailable, Reason: "no member leads"}
		}
		return peers.Receipt{State: peers.Refused, Reason: "made for epoch 1.3"}
	}
	wants(t, k.carry(peers.Switchover, peers.Order{}, true, plenty), ExitRefused, "made for epoch 1.3")
	for _, e := range epochs {
		if e != at(3) {
			t.Errorf("got epochs %v, want the first one seen each time", epochs)
		}
	}
	if k.orders[2] != "db-replica-0 switchover" {
		t.Errorf("got %v, want the third to the new leader", k.orders)
	}
}

func TestKeepersThatAreGoneCostNothing(t *testing.T) {
	k := start(t, three...)
	k.locked(func() { k.leads("db-primary-0", recorded(at(3), 9)) })
	k.stop["db-replica-0"]()
	k.order = func(string, peers.Verb, peers.Order) peers.Receipt {
		return peers.Receipt{State: peers.Refused, Reason: "no"}
	}
	wants(t, k.carry(peers.Switchover, peers.Order{}, true, plenty), ExitRefused, "no")
	v, err := k.site.Look(t.Context())
	if err != nil || len(v.Heard) != 2 || len(v.Problems) != 1 {
		t.Fatalf("got %+v, %v", v, err)
	}
	k.stop["db-primary-0"]()
	k.stop["db-replica-1"]()
	if _, err := k.site.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "no keeper answers") {
		t.Errorf("got %v", err)
	}
	wants(t, k.carry(peers.Switchover, peers.Order{}, true, 2*giveEvery), ExitTimeout, "no keeper answers")
}

func TestPauseWithoutALeaderIsLiftedAtEachKeeper(t *testing.T) {
	k := start(t, three...)
	k.locked(func() {
		r := recorded(at(3), 9)
		r.Pause = &record.Pause{ID: "p"}
		for _, s := range k.said {
			s.Record, s.PauseLeft = r, record.Duration(time.Hour)
		}
	})
	k.order = func(pod string, _ peers.Verb, _ peers.Order) peers.Receipt {
		k.said[pod].PauseLeft = 0
		return peers.Receipt{State: peers.Unavailable, Reason: "no member leads"}
	}
	wants(t, k.carry(peers.Resume, peers.Order{}, true, plenty), ExitDone, "lifted at the 3 keepers")
	if len(k.orders) != 3 {
		t.Errorf("got %v", k.orders)
	}
}

func TestKeepersThatCannotBeNamed(t *testing.T) {
	for name, list := range map[string][]string{
		"none": nil, "no_host": {":8009"}, "port_is_no_number": {"db-members:https"}, "port_too_high": {"db-members:99999"}, "two_ports": {"a:8009", "b:8010"},
	} {
		if _, err := NewSite(list, t.TempDir(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewSite([]string{"db-members"}, t.TempDir(), slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("a host without a port: %v", err)
	}
}
