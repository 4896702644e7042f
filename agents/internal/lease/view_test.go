package lease

import (
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
)

// Only what lies between two instants counts: a boot clock that stands a day further, or stood a day less far, changes no decision.
func TestAClockADayOffChangesNothing(t *testing.T) {
	const day = 24 * time.Hour
	type found struct {
		inForce, expired  bool
		unchanged, vacant time.Duration
		freeFor           time.Duration
	}
	find := func(v View, now boottime.Instant) found {
		return found{v.InForce(now), v.Expired(now), v.Unchanged(now), v.Vacant(now), v.FreeFor(now)}
	}
	start := boottime.Instant(0).Add(2 * day)
	held, released, absent := recordOf(other, 3), recordOf(other, 3), View{Known: Absent, AbsentSince: start, AbsentWait: 8 * time.Second}
	released.Released = true
	for name, v := range map[string]View{
		"held":     {Known: Present, Record: held, Since: start},
		"mine":     {Known: Present, Record: recordOf(me, 3), Since: start, Mine: true, Deadline: start.Add(5 * time.Second)},
		"released": {Known: Present, Record: released, Since: start},
		"absent":   absent,
	} {
		for _, passed := range []time.Duration{0, 5*time.Second - 1, 5 * time.Second, 8*time.Second - 1, 8 * time.Second, 11 * time.Second} {
			want := find(v, start.Add(passed))
			for _, off := range []time.Duration{-day, day} {
				moved := v
				moved.Since = v.Since.Add(off)
				if v.Deadline != 0 {
					moved.Deadline = v.Deadline.Add(off)
				}
				if v.AbsentSince != 0 {
					moved.AbsentSince = v.AbsentSince.Add(off)
				}
				if got := find(moved, start.Add(passed+off)); got != want {
					t.Errorf("%s after %v, clock off by %v: got %+v, want %+v", name, passed, off, got, want)
				}
			}
		}
	}
}

func TestFree(t *testing.T) {
	start := boottime.Instant(1000)
	released := recordOf(other, 3)
	released.Released = true
	for name, c := range map[string]struct {
		view   View
		passed time.Duration
		free   time.Duration
	}{
		"held_and_its_time_is_not_over": {View{Known: Present, Record: recordOf(other, 3), Since: start}, 8*time.Second - 1, 0},
		"its_time_is_just_over":         {View{Known: Present, Record: recordOf(other, 3), Since: start}, 8 * time.Second, 0},
		"its_time_is_over_for_long":     {View{Known: Present, Record: recordOf(other, 3), Since: start}, 11 * time.Second, 3 * time.Second},
		"released_at_once":              {View{Known: Present, Record: released, Since: start}, time.Second, time.Second},
		"absent_is_not_free":            {View{Known: Absent, Record: released, Since: start}, time.Hour, 0},
		"unreachable_is_not_free":       {View{Since: start}, time.Hour, 0},
	} {
		if got := c.view.FreeFor(start.Add(c.passed)); got != c.free {
			t.Errorf("%s: got %v, want %v", name, got, c.free)
		}
	}
}
