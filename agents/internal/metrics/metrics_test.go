package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

func scrape(t *testing.T, s observed.Snapshot) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler("1.2.3", func() observed.Snapshot { return s }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("got status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func expect(t *testing.T, body string, present, absent []string) {
	t.Helper()
	for _, want := range present {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no sample %q in\n%s", want, body)
		}
	}
	for _, no := range absent {
		if strings.Contains(body, "\n"+no) {
			t.Errorf("there is a sample %q", no)
		}
	}
}

func TestUnknownGivesNoSample(t *testing.T) {
	body := scrape(t, observed.Snapshot{})
	expect(t, body, []string{"pgspan_server_up 0", "pgspan_leader 0"},
		[]string{"pgspan_role{", "pgspan_writable ", "pgspan_replication_lag_bytes ", "pgspan_replication_lag_seconds ", "pgspan_replication_link_up ", "pgspan_timeline ", "pgspan_epoch", "pgspan_volume_free"})
	if !strings.Contains(body, `pgspan_build_info{goversion="go1.`) {
		t.Error("no build_info")
	}
}

func TestDeadLinkGivesNoLag(t *testing.T) {
	at := lsn.LSN(100)
	expect(t, scrape(t, observed.Snapshot{Server: &pg.Status{InRecovery: true, Replayed: &at, Timeline: 2}}),
		[]string{"pgspan_replication_link_up 0", "pgspan_writable 0", `pgspan_role{role="replica"} 1`, "pgspan_timeline 2", `pgspan_wal_position_bytes{kind="replayed"} 100`},
		[]string{"pgspan_replication_lag_bytes ", "pgspan_replication_lag_seconds "})
}

func TestPrimary(t *testing.T) {
	at, behind, safe, retained, rate, free, reserved := lsn.LSN(1000), lsn.LSN(400), int64(5000), int64(300), 100.0, uint64(2000), "reserved"
	s := observed.Snapshot{
		Granted: true, Leader: true, Epoch: epoch.Epoch{Site: 1, Local: 4}, Server: &pg.Status{Current: &at, Timeline: 4},
		Senders:      []pg.Sender{{Name: "r", State: "streaming", SyncState: "async", Flushed: &at, Replayed: &behind}, {Name: "r", State: "backup"}},
		Slots:        []pg.Slot{{Name: "s", Physical: true, WALStatus: &reserved, SafeBytes: &safe, Retained: &retained}},
		WALPerSecond: &rate, VolumeFree: &free, Certificates: map[string]float64{"server": 12.5}, Failures: 3,
		Rollout: "stopped", Figures: &pg.Figures{PendingRestart: []string{"max_connections", "shared_buffers"}, Unusable: []string{"work_mem: no"}},
		Loops: map[string]observed.Loop{"judge": {Seconds: 0.5, Panics: 1}},
	}
	expect(t, scrape(t, s), []string{
		`pgspan_role{role="primary"} 1`, "pgspan_writable 1", "pgspan_granted 1", "pgspan_epoch_local 4",
		`pgspan_standby_lag_bytes{kind="replay",standby="r"} 600`, `pgspan_standby_lag_bytes{kind="flush",standby="r"} 0`, `pgspan_standby_streaming{standby="r",sync_state="async"} 1`,
		`pgspan_slot_wal_status{slot="s",status="reserved"} 1`, `pgspan_slot_safe_seconds{slot="s",type="physical"} 20`, // the disk ends before the limit
		`pgspan_rollout{state="stopped"} 1`, "pgspan_settings_pending_restart 2", "pgspan_settings_unusable 1",
		`pgspan_certificate_days{certificate="server"} 12.5`, "pgspan_lease_renew_failures_total 3", `pgspan_loop_panics_total{loop="judge"} 1`,
	}, []string{"pgspan_replication_lag", "pgspan_replication_link_up"})
}

func TestSynchronousState(t *testing.T) {
	server := &pg.Status{}
	for name, c := range map[string]struct {
		sync  *observed.Sync
		state string
	}{
		"asynchronous":             {nil, ""},
		"settled":                  {&observed.Sync{Mode: "any", K: 1, Size: 2, Met: true, InForce: true, Recorded: true}, "settled"},
		"record_is_behind":         {&observed.Sync{Mode: "any", K: 1, Size: 2, Met: true, InForce: true}, "changing"},
		"server_is_behind":         {&observed.Sync{Mode: "any", K: 1, Size: 2, Met: true, Recorded: true}, "changing"},
		"nobody_can_acknowledge":   {&observed.Sync{Mode: "strict", K: 1, InForce: true, Recorded: true}, "blocked"},
		"nobody_is_waited_for_now": {&observed.Sync{Mode: "any", Met: true, InForce: true, Recorded: true}, "settled"},
	} {
		t.Run(name, func(t *testing.T) {
			body := scrape(t, observed.Snapshot{Server: server, Sync: c.sync})
			if c.sync == nil {
				expect(t, body, nil, []string{"pgspan_synchronous"})
				return
			}
			expect(t, body, []string{
				fmt.Sprintf(`pgspan_synchronous_needed{mode="%s"} %d`, c.sync.Mode, c.sync.K),
				fmt.Sprintf(`pgspan_synchronous_set_size{mode="%s"} %d`, c.sync.Mode, c.sync.Size),
				fmt.Sprintf(`pgspan_synchronous_state{state="%s"} 1`, c.state),
			}, nil)
		})
	}
	expect(t, scrape(t, observed.Snapshot{Failsafe: true}), []string{"pgspan_failsafe 1"}, nil)
}

func TestTransition(t *testing.T) {
	expect(t, scrape(t, observed.Snapshot{}), nil, []string{"pgspan_transition_seconds"})
	expect(t, scrape(t, observed.Snapshot{Transition: map[string]float64{"stop": 0.25}}), []string{`pgspan_transition_seconds{stage="stop"} 0.25`}, nil)
}

func TestSecondLine(t *testing.T) {
	names := []string{"pgspan_writable_members", "pgspan_two_writers", "pgspan_write_probe_failed", "pgspan_write_probe_seconds"}
	expect(t, scrape(t, observed.Snapshot{}), nil, names)
	seconds := 0.02
	expect(t, scrape(t, observed.Snapshot{SecondLine: &observed.SecondLine{Writers: 1, WriteSeconds: &seconds}}),
		[]string{"pgspan_writable_members 1", "pgspan_two_writers 0", "pgspan_write_probe_failed 0", "pgspan_write_probe_seconds 0.02", "pgspan_unheard_members 0"}, nil)
	expect(t, scrape(t, observed.Snapshot{SecondLine: &observed.SecondLine{Writers: 2, Unheard: 1, TwoWriters: "so does r-0", WriteFailed: "no", Failed: 2}}),
		[]string{"pgspan_writable_members 2", "pgspan_two_writers 1", "pgspan_write_probe_failed 1", "pgspan_unheard_members 1"}, []string{"pgspan_write_probe_seconds"})
}
