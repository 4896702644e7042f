package orders

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pgspan/pgspan/agents/internal/peers"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Report is a site's state for people and their scripts.
type Report struct {
	// Leader is the pod whose word is that it holds the record in force; empty: none says so.
	Leader   string `json:"leader,omitempty"`
	Epoch    string `json:"epoch,omitempty"`
	Timeline uint32 `json:"timeline,omitempty"`
	// Writable: the leader's server writes; Published: the Service for writing leads to it.
	Writable  bool `json:"writable"`
	Published bool `json:"published"`
	// Alarms are what must not be missed.
	Alarms []string `json:"alarms,omitempty"`
	// PauseLeft is how long elections and switchovers are still suspended.
	PauseLeft   string          `json:"pauseLeft,omitempty"`
	PauseReason string          `json:"pauseReason,omitempty"`
	Intents     []record.Intent `json:"intents,omitempty"`
	// Rollout is the last rollout that was asked for, RolloutAwaits what the one under way waits for.
	Rollout       *record.Rollout `json:"rollout,omitempty"`
	RolloutAwaits string          `json:"rolloutAwaits,omitempty"`
	// Transition is how the leader came to lead.
	Transition *record.Transition `json:"transition,omitempty"`
	Members    []Member           `json:"members"`
	// Problems are why keepers were not heard.
	Problems []string `json:"problems,omitempty"`
}

// Member is one line of it. What is not known is left out.
type Member struct {
	Pod        string   `json:"pod"`
	Heard      bool     `json:"heard"`
	Role       string   `json:"role,omitempty"`
	Leads      bool     `json:"leads"`
	Phase      string   `json:"phase,omitempty"`
	Timeline   uint32   `json:"timeline,omitempty"`
	Streaming  bool     `json:"streaming"`
	LagBytes   *int64   `json:"lagBytes,omitempty"`
	LagSeconds *float64 `json:"lagSeconds,omitempty"`
	Fenced     bool     `json:"fenced"`
	// PendingRestart are settings that wait for a restart of this server.
	PendingRestart []string `json:"pendingRestart,omitempty"`
	// Unusable are settings that this server cannot take: it would not start again.
	Unusable []string `json:"unusableSettings,omitempty"`
	Person   bool     `json:"person"`
	Reason   string   `json:"reason,omitempty"`
}

// ReportOf makes the report of a view: the members that are listed and those that answer.
func ReportOf(v View) Report {
	out := Report{Members: []Member{}}
	r, known := v.Record()
	if known {
		out.Epoch, out.Timeline, out.Intents, out.Rollout = r.Epoch.String(), r.Timeline, r.Intents, r.Rollout
		out.Transition = r.Transition
	}
	if l, ok := v.Leader(); ok {
		out.Leader, out.Writable, out.Published, out.RolloutAwaits = l.Pod, l.Role == "primary", l.Published == r.Epoch, l.Rollout
	}
	var left time.Duration
	for _, s := range v.Heard {
		if s.Record != nil && s.Record.Version() == r.Version() {
			left = max(left, time.Duration(s.PauseLeft))
		}
		for _, a := range s.Alarms {
			out.Alarms = append(out.Alarms, s.Pod+": "+a)
		}
		out.Members = append(out.Members, memberOf(s, r))
	}
	if left > 0 && r.Pause != nil {
		out.PauseLeft, out.PauseReason = left.Round(time.Second).String(), r.Pause.Reason
	}
	for _, m := range r.Known() {
		if _, heard := v.Pod(m.Pod); !heard {
			_, fenced := r.FencedMember(m.ID)
			out.Members = append(out.Members, Member{Pod: m.Pod, Fenced: fenced})
		}
	}
	slices.SortFunc(out.Members, func(a, b Member) int { return cmp.Compare(a.Pod, b.Pod) })
	for _, p := range v.Problems {
		out.Problems = append(out.Problems, p.Error())
	}
	slices.Sort(out.Problems)
	return out
}

func memberOf(s peers.Status, r record.Record) Member {
	_, fenced := r.FencedMember(s.Me.Member)
	return Member{
		Pod: s.Pod, Heard: true, Role: s.Role, Leads: s.Leads, Phase: string(s.Phase), Timeline: s.Timeline, Streaming: s.Streaming,
		LagBytes: s.LagBytes, LagSeconds: s.LagSeconds, Fenced: fenced, Person: s.Person, Reason: s.Reason, PendingRestart: s.Pending, Unusable: s.Unusable,
	}
}

// Print writes the report as a table.
func (r Report) Print(w io.Writer) error {
	for _, a := range r.Alarms {
		fmt.Fprintln(w, "ALARM:", a)
	}
	switch {
	case r.Epoch == "":
		fmt.Fprintln(w, "no keeper knows the record")
	case r.Leader == "":
		fmt.Fprintf(w, "epoch %s, timeline %d: no member leads\n", r.Epoch, r.Timeline)
	default:
		state := map[bool]string{true: "writable", false: "not writable yet"}[r.Writable]
		service := map[bool]string{true: "", false: ", the Service for writing does not lead to it yet"}[r.Published]
		fmt.Fprintf(w, "epoch %s, timeline %d: %s leads, %s%s\n", r.Epoch, r.Timeline, r.Leader, state, service)
	}
	if r.PauseLeft != "" {
		fmt.Fprintln(w, strings.TrimSpace(fmt.Sprintf("paused for another %s: no elections, no switchovers. %s", r.PauseLeft, r.PauseReason)))
	}
	for _, i := range r.Intents {
		if i.State == record.Open {
			fmt.Fprintf(w, "%s %s is under way\n", i.Kind, i.ID)
		}
	}
	switch o := r.Rollout; {
	case o == nil || o.State == record.Done:
	case o.State == record.Open:
		fmt.Fprintf(w, "rollout %s is under way: %s\n", o.ID, cmp.Or(r.RolloutAwaits, "no member leads"))
	default:
		fmt.Fprintf(w, "rollout %s: %s\n", o.ID, o.Outcome)
	}
	for _, m := range r.Members {
		if len(m.PendingRestart) > 0 {
			fmt.Fprintf(w, "%s: %s wait for a restart\n", m.Pod, strings.Join(m.PendingRestart, ", "))
		}
		if len(m.Unusable) > 0 {
			fmt.Fprintf(w, "%s: the server cannot take its settings and would not start again: %s\n", m.Pod, strings.Join(m.Unusable, "; "))
		}
	}
	if t := r.Transition; t != nil && t.To != "" && len(t.Stages) > 0 {
		fmt.Fprintf(w, "last change of leaders: about %s without a writer (%s)\n", t.Gap().Round(10*time.Millisecond), t)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "POD\tROLE\tPHASE\tTIMELINE\tSTREAMS\tLAG\tREASON")
	for _, m := range r.Members {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Pod, m.role(), dash(m.Phase), m.timeline(), m.streams(), m.lag(), m.Reason)
	}
	return t.Flush()
}

func dash(s string) string { return cmp.Or(s, "-") }

func (m Member) role() string {
	switch {
	case m.Fenced:
		return "fenced"
	case !m.Heard:
		return "not heard"
	default:
		return dash(m.Role)
	}
}

func (m Member) timeline() string {
	if m.Timeline == 0 {
		return "-"
	}
	return fmt.Sprint(m.Timeline)
}

func (m Member) streams() string {
	switch {
	case m.Role != "replica":
		return "-"
	case m.Streaming:
		return "yes"
	default:
		return "no"
	}
}

func (m Member) lag() string {
	switch {
	case m.Role != "replica":
		return "-"
	case m.LagBytes == nil:
		return "unknown"
	default:
		return fmt.Sprintf("%d B", *m.LagBytes)
	}
}
