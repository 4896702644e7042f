package record

import (
	"fmt"
	"testing"
	"time"
)

func TestTimeLeftIsTakenOffByWhoeverWrites(t *testing.T) {
	r := full()
	r.Elapse(20 * time.Second)
	if i, _ := r.OpenIntent(); time.Duration(i.Left) != 40*time.Second || time.Duration(r.Pause.Left) != time.Hour-20*time.Second {
		t.Errorf("got %s and %s", i.Left, r.Pause.Left)
	}
	r.Elapse(-time.Hour) // a clock that went back gives no time
	if i, _ := r.OpenIntent(); time.Duration(i.Left) != 40*time.Second {
		t.Errorf("got %s after a clock went back", i.Left)
	}
	if len(r.GivenUp) != 2 {
		t.Errorf("got %v", r.GivenUp)
	}
	if c := r.Clone(); true {
		if c.Elapse(time.Minute); len(c.GivenUp) != 1 || len(r.GivenUp) != 2 {
			t.Errorf("got %v of %v, want one less", c.GivenUp, r.GivenUp)
		}
	}
	if r.Elapse(time.Hour); r.GivenUp != nil {
		t.Errorf("nothing of it counts any more: %v", r.GivenUp)
	}
	if i, ok := r.OpenIntent(); !ok || i.Left != 0 {
		t.Errorf("an intent whose time is over is open until somebody says what became of it: %+v", i)
	}
	if r.Pause != nil {
		t.Errorf("the pause is over: %+v", r.Pause)
	}
}

func TestCopyOfARecordSharesNoPauseAndNoIntents(t *testing.T) {
	r := full()
	c := r.Clone()
	c.Elapse(time.Minute)
	c.Settle("i-1", Done, "x")
	c.Unfence("pvc-2")
	if i, ok := r.OpenIntent(); !ok || time.Duration(i.Left) != time.Minute || time.Duration(r.Pause.Left) != time.Hour || len(r.Fenced) != 1 || r.Fenced[0].Member == "" ||
		time.Duration(r.Rollout.Left) != time.Minute || time.Duration(r.Rollout.Step.Soak) != time.Second {
		t.Errorf("the original was changed: %+v", r)
	}
}

func TestIntentsAreRememberedAndSettledOnce(t *testing.T) {
	r := full()
	r.Settle("i-1", Refused, "no member is fit")
	r.Settle("i-1", Done, "late")
	if i, ok := r.Intent("i-1"); !ok || i.State != Refused || i.Outcome != "no member is fit" {
		t.Errorf("got %+v", i)
	}
	if i, ok := r.OpenIntent(); ok {
		t.Errorf("still open: %+v", i)
	}
	for n := range 5 {
		r.Intend(Intent{ID: fmt.Sprint(n), State: Done})
	}
	if _, ok := r.Intent("0"); ok || len(r.Intents) != keptIntents {
		t.Errorf("got %d kept, the oldest among them", len(r.Intents))
	}
	if _, ok := r.Intent("4"); !ok {
		t.Error("the newest was forgotten")
	}
}

func TestFenceIsLiftedForThatMemberOnly(t *testing.T) {
	r := full()
	r.Fence(Fenced{ID: "later", Member: "pvc-2", Pod: "a-replica-0"}) // what was lifted of the earlier word is not lifted of this one
	r.Fence(Fenced{Member: "pvc-1", Pod: "a-primary-0"})
	if f, _ := r.FencedMember("pvc-2"); f.Name() != "later" || len(r.Fenced) != 2 {
		t.Errorf("got %+v", r.Fenced)
	}
	r.Unfence("pvc-2")
	if _, ok := r.FencedMember("pvc-2"); ok || len(r.Fenced) != 1 {
		t.Errorf("got %+v", r.Fenced)
	}
}
