package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Successor is another listed member, as one that might lead next.
type Successor struct {
	Member, Pod string
	// Barred is why it must not lead, by its own word; it does not heal by waiting. Empty: it may.
	Barred string
	// Problem is why it cannot follow at once: it was not heard, it does not stream. Empty: it streams, by its own word and the leader's.
	Problem string
	// Lag is how many bytes it has still to receive and replay.
	Lag      int64
	Priority int
}

// Asked is what a verdict on an intent rests on.
type Asked struct {
	Intent record.Intent
	// Left is how long it may still wait.
	Left time.Duration
	// Record is the leader's, and Pod and Member who that is. Leads: its right is in force and its server writes.
	Record      record.Record
	Pod, Member string
	Leads       bool
	// Opened: the leader is known to write on the record's timeline.
	Opened bool
	// PauseLeft is how long switchovers are suspended.
	PauseLeft time.Duration
	// CalledOff is why this very intent was begun and given up by this leader; empty: it was not.
	CalledOff  string
	Successors []Successor
	// MaxLag is how many bytes a successor may lack: the shutdown waits until it has them.
	MaxLag int64
}

// Deed is what is to be done about an intent.
type Deed int

const (
	// Leave it as it is: the reason says what is awaited.
	Leave Deed = iota
	// HandOver to Heir.
	HandOver
	// Finish: what was wanted is so.
	Finish
	// Refuse: it is not done, now or later.
	Refuse
)

// Answer is the verdict on an intent.
type Answer struct {
	Deed      Deed
	Heir, Pod string
	Reason    string
}

// Intent judges what the leader does about an intent (SAFETY D42). Only a leader's keeper acts on the answer.
func Intent(a Asked) Answer {
	i, r := a.Intent, a.Record
	switch {
	case !a.Leads:
		return Answer{Reason: "no member leads"}
	case i.Epoch != r.Epoch:
		return outcome(a)
	case a.CalledOff != "":
		return Answer{Deed: Refuse, Reason: fmt.Sprintf("%s; %s goes on as primary in epoch %s", a.CalledOff, a.Pod, r.Epoch)}
	case !a.Opened:
		return Answer{Reason: a.Pod + " is being promoted"}
	case i.Target == a.Pod:
		return Answer{Deed: Finish, Reason: fmt.Sprintf("%s leads already, in epoch %s", a.Pod, r.Epoch)}
	case a.PauseLeft > 0:
		return Answer{Deed: Refuse, Reason: fmt.Sprintf("switchovers are paused for another %s: \"role resume\" ends that", a.PauseLeft.Round(time.Second))}
	}
	heir, why, final := a.successor()
	switch {
	case final:
		return Answer{Deed: Refuse, Reason: why}
	case a.Left <= 0:
		return Answer{Deed: Refuse, Reason: "its time is over: " + cmp.Or(why, "nothing came of it")}
	case why != "":
		return Answer{Reason: why}
	}
	return Answer{Deed: HandOver, Heir: heir.Member, Pod: heir.Pod, Reason: "handing over to " + heir.Pod}
}

// outcome is what has become of an intent whose epoch is over: it is judged by who leads, and nothing is done about it any more.
func outcome(a Asked) Answer {
	i, r := a.Intent, a.Record
	leads := fmt.Sprintf("%s leads in epoch %s on timeline %d", a.Pod, r.Epoch, r.Timeline)
	switch {
	case i.Epoch.Compare(r.Epoch) > 0:
		return Answer{Deed: Refuse, Reason: fmt.Sprintf("it was made for epoch %s, and the record is of epoch %s", i.Epoch, r.Epoch)}
	case !a.Opened:
		return Answer{Reason: a.Pod + " is being promoted"}
	case i.Target == a.Pod, i.Target == "" && i.FromID != a.Member:
		return Answer{Deed: Finish, Reason: leads}
	default:
		return Answer{Deed: Refuse, Reason: fmt.Sprintf("epoch %s, for which it was made, is over: %s", i.Epoch, leads)}
	}
}

// successor chooses who is to follow. why says what is awaited otherwise; final, that waiting does not help.
func (a Asked) successor() (heir Successor, why string, final bool) {
	if a.Intent.Target != "" {
		i := slices.IndexFunc(a.Successors, func(s Successor) bool { return s.Pod == a.Intent.Target })
		if i < 0 {
			return heir, fmt.Sprintf("there is no member %s: the record lists %s", a.Intent.Target, names(a.Record, ids(a.Record))), true
		}
		s := a.Successors[i]
		return s, a.unfit(s), s.Barred != ""
	}
	var able []Successor
	var problems []string
	for _, s := range a.Successors {
		if why := a.unfit(s); why != "" {
			problems = append(problems, why)
			continue
		}
		able = append(able, s)
	}
	if len(a.Successors) == 0 {
		return heir, fmt.Sprintf("%s is the only member", a.Pod), true
	}
	if len(able) == 0 {
		return heir, "no member is fit to lead: " + strings.Join(problems, "; "), false
	}
	return slices.MinFunc(able, func(a, b Successor) int {
		return cmp.Or(-cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Lag, b.Lag), cmp.Compare(a.Member, b.Member))
	}), "", false
}

func (a Asked) unfit(s Successor) string {
	switch {
	case s.Barred != "":
		return fmt.Sprintf("%s must not lead: %s", s.Pod, s.Barred)
	case s.Problem != "":
		return fmt.Sprintf("%s cannot follow: %s", s.Pod, s.Problem)
	case s.Lag > a.MaxLag:
		return fmt.Sprintf("%s lacks %d bytes, and %d are few enough", s.Pod, s.Lag, a.MaxLag)
	}
	return ""
}

func ids(r record.Record) []string {
	out := make([]string, len(r.Members))
	for i, m := range r.Members {
		out[i] = m.ID
	}
	return out
}

// Admission is whether an intent is taken into the record.
type Admission struct {
	// Known is the intent of that id that is there already: it is reported, and nothing is done twice.
	Known *record.Intent
	// Refused is why it is not taken in; empty: it is, unless it is known.
	Refused string
}

// Admit judges an intent that was made for an epoch (zero: the present one) with an id.
func Admit(r record.Record, id string, made epoch.Epoch) Admission {
	if i, ok := r.Intent(id); ok {
		return Admission{Known: &i}
	}
	if !made.IsZero() && made != r.Epoch {
		return Admission{Refused: fmt.Sprintf("it was made for epoch %s, and the record is of epoch %s", made, r.Epoch)}
	}
	if i, ok := r.OpenIntent(); ok {
		return Admission{Refused: fmt.Sprintf("the %s %s is not finished", i.Kind, i.ID)}
	}
	return Admission{}
}
