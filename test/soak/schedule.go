package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	modeAsync  = "async"
	modeAny    = "any"
	modeStrict = "strict"
)

// fault is one thing that goes wrong, as the seed decided. Whom it meets is known by role only: who has it is seen when it happens.
type fault struct {
	after time.Duration // since the release was whole again
	kind  string
	who   string // leader, replica 0 or replica 1
	lasts time.Duration
	// also is a second fault that begins while this one lasts.
	also *fault
}

func (f fault) String() string {
	text := f.kind
	if f.who != "" {
		text += " of " + f.who
	}
	if f.lasts > 0 {
		text += " for " + f.lasts.String()
	}
	if f.also != nil {
		text += fmt.Sprintf(", and %s later %s", f.also.after, f.also)
	}
	return text
}

// turn is a stretch in one mode.
type turn struct {
	mode   string
	length time.Duration
	faults []fault // as many as can fit; those for which there is no time are left out
}

// kinds are what can go wrong, with how often. Those in lasting go on until they are healed.
var kinds = []struct {
	kind   string
	weight int
	lasts  bool
	who    bool
}{
	{"node killed", 8, true, true}, {"node frozen", 8, true, true}, {"node cut off", 8, true, true}, {"node cut off from its peers", 6, true, true},
	{"node cut off from the API", 5, true, true}, {"node cannot send", 5, true, true}, {"node cannot receive", 5, true, true}, {"API down", 4, true, false},
	{"slow volume", 3, true, true},
	{"pod deleted", 5, false, true}, {"pod force-deleted", 6, false, true},
	{"postmaster killed", 5, false, true}, {"backend killed", 3, false, true}, {"keeper killed", 5, false, true}, {"guard killed", 5, false, true},
	{"keeper frozen", 6, true, true}, {"guard frozen", 4, true, true}, {"keeper and guard frozen", 3, true, true}, {"receiver frozen", 4, true, true},
	{"switchover", 8, false, false}, {"fence", 3, true, true}, {"parameter changed", 3, false, false},
}

// plan is the whole schedule of a seed.
func plan(seed uint64, length, each time.Duration, modes []string) []turn {
	r := rand.New(rand.NewPCG(seed, 0x736f616b))
	var out []turn
	for i := 0; length > 0; i++ {
		t := turn{mode: strings.TrimSpace(modes[i%len(modes)]), length: min(each, length)}
		length -= t.length
		for range int(t.length/(5*time.Second)) + 1 {
			f := pick(r)
			f.after = time.Duration(r.IntN(8000)) * time.Millisecond
			if f.lasts > 0 && r.Float64() < 0.3 {
				second := pick(r)
				second.after = time.Duration(r.Int64N(int64(f.lasts))).Round(time.Millisecond)
				f.also = &second
			}
			t.faults = append(t.faults, f)
		}
		out = append(out, t)
	}
	return out
}

func pick(r *rand.Rand) fault {
	all := 0
	for _, k := range kinds {
		all += k.weight
	}
	n := r.IntN(all)
	for _, k := range kinds {
		if n -= k.weight; n >= 0 {
			continue
		}
		f := fault{kind: k.kind}
		if k.who {
			f.who = []string{"leader", "leader", "replica 0", "replica 1"}[r.IntN(4)]
		}
		if k.lasts {
			// Around every wait that there is: a renewal, a fence, a lease, an election, an end of failsafe.
			f.lasts = time.Duration(500+r.IntN([]int{3000, 10000, 30000}[r.IntN(3)])) * time.Millisecond
		}
		return f
	}
	return fault{kind: kinds[0].kind, who: "leader", lasts: time.Second}
}
