package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/orders"
	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
	sitecerts "github.com/pgspan/pgspan/tls"
)

// asked is what a keeper was told.
type asked struct {
	verb peers.Verb
	peers.Order
}

// keeper starts the server of a keeper that leads, and answers every order with the receipt. PGSPAN_KEEPERS and PGSPAN_TLS lead to it.
func keeper(t *testing.T, receipt peers.Receipt) *[]asked {
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	var got []asked
	r := &record.Record{Format: 1, Epoch: epoch.Epoch{Site: 1, Local: 3}, Timeline: 3, Members: []record.Member{{ID: "v", Pod: "db-primary-0"}}}
	server := peers.New(peers.Options{
		Listen: "127.0.0.1:" + port, TLSDir: dir, Log: slog.New(slog.DiscardHandler),
		Standing: func() peers.Standing { return peers.Standing{} }, Nudge: func(grant.Incarnation, epoch.Version) {},
		Status: func() peers.Status {
			return peers.Status{Pod: "db-primary-0", Leads: true, Role: "primary", Published: r.Epoch, Known: "present", Record: r}
		},
		Order: func(_ context.Context, verb peers.Verb, o peers.Order) peers.Receipt {
			got = append(got, asked{verb, o})
			return receipt
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	t.Setenv("PGSPAN_KEEPERS", "localhost:"+port)
	t.Setenv("PGSPAN_TLS", dir)
	t.Setenv("PGSPAN_TIMEOUT", "20s")
	t.Setenv("PGSPAN_ID", "job-7")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, c := told(t, "status"); c == orders.ExitDone {
			return &got
		}
	}
	t.Fatal("the keeper does not answer")
	return nil
}

// told is one call: what was printed, and the exit code.
func told(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out strings.Builder
	cmd := newCommand(&out)
	cmd.SetArgs(args)
	c := code(cmd.Execute())
	return out.String(), c
}

func TestCommandsAskForWhatTheySay(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want asked
	}{
		"switchover_to_the_best": {[]string{"switchover"}, asked{peers.Switchover, peers.Order{For: record.Duration(2 * time.Minute)}}},
		"switchover_to_a_pod": {[]string{"switchover", "--to", "db-replica-1", "--for", "30s", "--reason", "new disks"},
			asked{peers.Switchover, peers.Order{Pod: "db-replica-1", For: record.Duration(30 * time.Second), Reason: "new disks"}}},
		"promote": {[]string{"promote", "db-replica-1"}, asked{peers.Switchover, peers.Order{Pod: "db-replica-1", For: record.Duration(2 * time.Minute)}}},
		"demote":  {[]string{"demote", "db-primary-0"}, asked{peers.Switchover, peers.Order{From: "db-primary-0", For: record.Duration(2 * time.Minute)}}},
		"pause":   {[]string{"pause", "--for", "1h"}, asked{peers.Pause, peers.Order{For: record.Duration(time.Hour)}}},
		"resume":  {[]string{"resume"}, asked{peers.Resume, peers.Order{}}},
		"fence":   {[]string{"fence", "db-replica-0"}, asked{peers.Fence, peers.Order{Pod: "db-replica-0", For: record.Duration(2 * time.Minute)}}},
		"unfence": {[]string{"unfence", "db-replica-0"}, asked{peers.Unfence, peers.Order{Pod: "db-replica-0"}}},
		"rollout": {[]string{"rollout", "--settings", "ab12", "--soak", "2m"}, asked{peers.Rollout,
			peers.Order{For: record.Duration(10 * time.Minute), Soak: record.Duration(2 * time.Minute), Settings: "ab12"}}},
		"dry_run": {[]string{"switchover", "--dry-run"}, asked{peers.Switchover, peers.Order{For: record.Duration(2 * time.Minute), DryRun: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := keeper(t, peers.Receipt{State: peers.Would, Reason: "would be so"})
			if out, c := told(t, c.args...); c != orders.ExitDone || out != "dry run: would be so\n" {
				t.Errorf("exit code %d, %q", c, out)
			}
			c.want.Format, c.want.ID = peers.Format, "job-7"
			if c.want.verb == peers.Switchover {
				c.want.Epoch = epoch.Epoch{Site: 1, Local: 3}
			}
			if len(*got) != 1 || (*got)[0] != c.want {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		receipt peers.Receipt
		args    []string
		code    int
		orders  int
	}{
		"done":                  {peers.Receipt{State: peers.Done, Reason: "leads already"}, []string{"switchover"}, 0, 1},
		"accepted_and_no_wait":  {peers.Receipt{State: peers.Accepted}, []string{"switchover", "--wait=false"}, 0, 1},
		"rollout_is_done":       {peers.Receipt{State: peers.Done, Reason: "all 3"}, []string{"rollout"}, 0, 1},
		"rollout_refused":       {peers.Receipt{State: peers.Refused, Reason: "no"}, []string{"rollout"}, 3, 1},
		"rollout_accepted":      {peers.Receipt{State: peers.Accepted}, []string{"rollout", "--wait=false"}, 0, 1},
		"refused":               {peers.Receipt{State: peers.Refused, Reason: "no"}, []string{"promote", "db-replica-9"}, 3, 1},
		"not_in_time":           {peers.Receipt{State: peers.Accepted}, []string{"switchover", "--timeout", "1s"}, 4, 1},
		"unknown_flag":          {peers.Receipt{}, []string{"switchover", "--force"}, 2, 0},
		"unknown_command":       {peers.Receipt{}, []string{"rollback"}, 2, 0},
		"pod_is_missing":        {peers.Receipt{}, []string{"promote"}, 2, 0},
		"pause_without_an_end":  {peers.Receipt{}, []string{"pause"}, 2, 0},
		"no_time":               {peers.Receipt{}, []string{"switchover", "--timeout", "0s"}, 2, 0},
		"no_keepers":            {peers.Receipt{}, []string{"switchover", "--keepers", ""}, 2, 0},
		"status_in_odd_form":    {peers.Receipt{}, []string{"status", "-o", "xml"}, 2, 0},
		"status_of_nobody":      {peers.Receipt{}, []string{"status", "--keepers", "localhost:1"}, 1, 0},
		"keepers_not_reachable": {peers.Receipt{}, []string{"switchover", "--keepers", "localhost:1", "--timeout", "1s"}, 4, 0},
		"no_certificate_at_all": {peers.Receipt{}, []string{"status", "--tls", "/nonexistent"}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := keeper(t, c.receipt)
			if out, code := told(t, c.args...); code != c.code || len(*got) != c.orders {
				t.Errorf("exit code %d after %d orders, %q; want %d, %d", code, len(*got), out, c.code, c.orders)
			}
		})
	}
}

func TestStatusForScripts(t *testing.T) {
	keeper(t, peers.Receipt{})
	out, c := told(t, "status", "-o", "json")
	var report orders.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || c != 0 {
		t.Fatalf("exit code %d, %v: %s", c, err, out)
	}
	if report.Leader != "db-primary-0" || !report.Writable || !report.Published || report.Epoch != "1.3" || len(report.Members) != 1 {
		t.Errorf("got %+v", report)
	}
}

func TestEnvironmentThatCannotBeRead(t *testing.T) {
	t.Setenv("PGSPAN_TIMEOUT", "soon")
	if _, c := told(t, "status"); c != orders.ExitUsage {
		t.Errorf("got %d, want %d", c, orders.ExitUsage)
	}
}
