package record

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
)

func full() Record {
	return Record{
		Format: Format, Holder: grant.Incarnation{Member: "pvc-1", Pod: "pod-1", Boot: "boot-1"},
		Duration: Duration(8 * time.Second), FenceAfter: Duration(5 * time.Second), Beat: 7,
		Epoch: epoch.Epoch{Site: 1, Local: 3}, Timeline: 3, LSN: lsn.LSN(0x16B374D848), SystemID: "7300000000000000001",
		Bootstrap: &Bootstrap{Member: "pvc-1", Statements: 1},
		Members:   []Member{{ID: "pvc-1", Pod: "a-primary-0", Host: "a-primary-0.a-members", Address: "10.0.0.1", Port: 5432}},
		Sync:      &Sync{K: 1, Members: []string{"pvc-1", "pvc-2"}},
		Intents:   []Intent{{ID: "i-1", Kind: Switchover, Epoch: epoch.Epoch{Site: 1, Local: 3}, From: "a-primary-0", FromID: "pvc-1", Left: Duration(time.Minute), State: Open}},
		Pause:     &Pause{ID: "p-1", Reason: "new disks", Left: Duration(time.Hour)},
		Fenced:    []Fenced{{Member: "pvc-2", Pod: "a-replica-0"}},
		Vacated:   epoch.Version{Epoch: epoch.Epoch{Site: 1, Local: 2}, Beat: 3},
		GivenUp:   []Duration{Duration(time.Minute), Duration(10 * time.Minute)},
		Rollout: &Rollout{ID: "r-1", Settings: "ab", Limit: Duration(time.Minute), Left: Duration(time.Minute), State: Open,
			Step: &Step{Member: "pvc-2", Pod: "a-replica-0", UID: "u-1", Soak: Duration(time.Second)}},
		Transition: &Transition{Epoch: epoch.Epoch{Site: 1, Local: 3}, From: "a-replica-0", To: "a-primary-0", Stages: []Stage{{Stop, Duration(90 * time.Millisecond), nil}}},
	}
}

func TestRecordSurvivesWritingAndReading(t *testing.T) {
	text, err := full().Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := full(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if strings.Contains(text, "\n") {
		t.Errorf("text has line breaks: %q", text)
	}
}

// A newer keeper adds fields at every level; an older one that wins rewrites the record (SAFETY D45).
func TestFieldsOfANewerReleaseSurviveARewrite(t *testing.T) {
	text, err := full().Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{`{"format"`, `{"member":"pvc-1","statements"`, `{"id":"pvc-1"`, `{"k"`, `{"id":"i-1"`, `{"id":"p-1"`, `{"member":"pvc-2","pod":"a-replica-0"}`, `{"id":"r-1"`, `{"member":"pvc-2","pod":"a-replica-0","uid"`} {
		if !strings.Contains(text, at) {
			t.Fatalf("%s not found in %s", at, text)
		}
		text = strings.Replace(text, at, `{"future":{"deep":[1,2]},`+at[1:], 1)
	}
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	r = r.Clone()
	r.Beat++
	again, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(again, `"future":{"deep":[1,2]}`); got != 9 {
		t.Errorf("got %d unknown fields after a rewrite, want 9: %s", got, again)
	}
	var back Record
	if err := json.Unmarshal([]byte(again), &back); err != nil || back.Beat != 8 {
		t.Errorf("beat: got %d (%v), want 8", back.Beat, err)
	}
}

func TestBrokenRecordIsAnErrorAndNotAFreeLease(t *testing.T) {
	for name, spoil := range map[string]func(*Record){
		"no_format":   func(r *Record) { r.Format = 0 },
		"no_holder":   func(r *Record) { r.Holder.Member = "" },
		"no_pod":      func(r *Record) { r.Holder.Pod = "" },
		"no_duration": func(r *Record) { r.Duration = 0 },
		"no_epoch":    func(r *Record) { r.Epoch = epoch.Epoch{} },
		"no_timeline": func(r *Record) { r.Timeline = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			r := full()
			spoil(&r)
			text, err := r.Text()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Parse(text); err == nil {
				t.Errorf("got %+v, want an error", got)
			}
		})
	}
	for _, text := range []string{"", "null", "{", `{"format":"x"}`} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func TestHigherFormatIsReadAndNeverLedBy(t *testing.T) {
	r := full()
	r.Format = Format + 1
	text, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if got.MayLead() {
		t.Error("a record of a higher format may be led by")
	}
	if !full().MayLead() {
		t.Error("a record of our own format may not be led by")
	}
}

func TestOnlyTheWritingIncarnationHoldsTheRecord(t *testing.T) {
	r := full()
	me := r.Holder
	if !r.HeldBy(me) {
		t.Error("the writer does not hold its record")
	}
	for name, other := range map[string]grant.Incarnation{
		"new_pod_of_the_same_volume": {Member: me.Member, Pod: "pod-2", Boot: me.Boot},
		"same_pod_after_a_reboot":    {Member: me.Member, Pod: me.Pod, Boot: "boot-2"},
		"another_volume":             {Member: "pvc-2", Pod: me.Pod, Boot: me.Boot},
	} {
		if r.HeldBy(other) {
			t.Errorf("%s holds the record", name)
		}
	}
	r.Released = true
	if r.HeldBy(me) {
		t.Error("a released record is still held")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r := full()
	c := r.Clone()
	c.Members[0].Pod, c.Bootstrap.Statements, c.Sync.Members[0] = "x", 9, "x"
	if want := full(); !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
}
