package explore

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// depth is how many faults follow each other in schedules that are tried one by one, and how long chance goes on after that. 1 is for every
// commit, 2 takes about an hour.
func depth(t *testing.T) int {
	t.Helper()
	text := os.Getenv("EXPLORE_DEPTH")
	if text == "" {
		return 1
	}
	d, err := strconv.Atoi(text)
	if err != nil || d < 1 {
		t.Fatalf("EXPLORE_DEPTH is %q, want a number from 1", text)
	}
	return d
}

// outcome of one run.
type outcome struct {
	*sim
	used []int
}

// chance is a run with faults and delays by chance. Some runs have many, some few.
func chance(seed uint64, synchronous bool, b broken) outcome {
	c := byChance(seed, []float64{0.02, 0.1, 0.3}[seed%3])
	s := newSim(c, synchronous, b)
	often := []float64{0.04, 0.08, 0.16}[seed/3%3]
	s.run(func(int) int { return c.pick(choices, often) })
	s.end()
	return outcome{s, c.used}
}

// replay does again what was chosen before.
func replay(script []int, synchronous bool, b broken, traced bool) outcome {
	c := &chooser{script: script}
	s := newSim(c, synchronous, b)
	s.traced = traced
	s.run(func(int) int { return c.pick(choices, 0) })
	s.end()
	return outcome{s, c.used}
}

// schedule is a run in which only the named faults happen, and nothing else is out of the ordinary.
func schedule(faults map[int]int, synchronous bool, b broken) outcome {
	c := &chooser{}
	s := newSim(c, synchronous, b)
	s.run(func(tick int) int { return c.take(faults[tick]) })
	s.end()
	return outcome{s, c.used}
}

// shrink makes as many choices ordinary as it can without losing the violation.
func shrink(script []int, synchronous bool, b broken, until time.Time) []int {
	best := script
	for size := len(best) / 2; size > 0 && time.Now().Before(until); {
		smaller := false
		for from := 0; from < len(best) && time.Now().Before(until); from += size {
			try, changed := append([]int(nil), best...), false
			for i := from; i < min(from+size, len(try)); i++ {
				changed = changed || try[i] != 0
				try[i] = 0
			}
			if !changed {
				continue
			}
			if o := replay(try, synchronous, b, false); o.facts.violation != "" {
				best, smaller = o.used, true
			}
		}
		if !smaller || size > 1 {
			size /= 2
		}
	}
	return best
}

// tell shows a violation in its smallest form that is found in a few seconds.
func tell(t *testing.T, o outcome, what string, synchronous bool, b broken) {
	t.Helper()
	script := shrink(o.used, synchronous, b, time.Now().Add(20*time.Second))
	small := replay(script, synchronous, b, true)
	t.Errorf("%s, synchronous %v: %s\nin its smallest form: %s\n%s", what, synchronous, o.facts.violation, small.facts.violation, strings.Join(small.trace, "\n"))
}

// gaps are the times between two faults that are tried, in ticks.
var gaps = []int{0, 1, 2, 4, 6, 8, 11, 14, 17, 20, 24, 32}

func TestNoScheduleBreaksThePromise(t *testing.T) {
	d := depth(t)
	began, runs, reached := time.Now(), 0, map[uint64]struct{}{}
	acks, elections, handovers, zombies, givenUp := 0, 0, 0, 0, 0
	failed := func(o outcome, what string, synchronous bool) bool {
		runs++
		acks, elections, handovers, zombies, givenUp = acks+o.facts.acks, elections+o.facts.elections, handovers+o.facts.handovers, zombies+o.facts.zombies, givenUp+o.facts.givenUp
		for k := range o.facts.seen {
			reached[k] = struct{}{}
		}
		if o.facts.violation != "" {
			tell(t, o, what, synchronous, broken{})
		}
		return t.Failed()
	}
	for _, synchronous := range []bool{false, true} {
		for a := range choices {
			if failed(schedule(map[int]int{2: a}, synchronous, broken{}), nameOf(a), synchronous) {
				return
			}
		}
		step := 1 // every pair of faults at every gap; before depth 2, one of many
		if d < 2 {
			step = 131
		}
		for n := 0; n < (choices-1)*(choices-1)*len(gaps); n += step {
			a, b, gap := 1+n%(choices-1), 1+n/(choices-1)%(choices-1), gaps[n/(choices-1)/(choices-1)]
			faults := map[int]int{2: a, 2 + gap: b}
			if gap == 0 {
				faults = map[int]int{2: a, 3: b}
			}
			if failed(schedule(faults, synchronous, broken{}), nameOf(a)+", then "+nameOf(b), synchronous) {
				return
			}
		}
		seeds := uint64(700)
		for range d - 1 {
			seeds *= 20
		}
		base := uint64(1)
		if text := os.Getenv("EXPLORE_SEED"); text != "" {
			base, _ = strconv.ParseUint(text, 10, 64)
		}
		for seed := range seeds {
			if failed(chance(base+seed, synchronous, broken{}), fmt.Sprintf("seed %d", base+seed), synchronous) {
				return
			}
		}
	}
	t.Logf("%d runs, %d states reached, %d reigns, %d hand-overs, %d times given up, %d writes acknowledged, %d of them by a server just thawed with its guard, in %v",
		runs, len(reached), elections, handovers, givenUp, acks, zombies, time.Since(began).Round(time.Second))
	if elections < 3*runs/2 || handovers == 0 || givenUp == 0 || zombies == 0 || len(reached) < 500 {
		t.Error("the exploration does not get far")
	}
}
