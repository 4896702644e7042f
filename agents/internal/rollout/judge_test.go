package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

// site is a leader and two replicas with nothing left to do.
func site(changes ...func(*Facts)) Facts {
	m := func(pod string, leads bool) Member {
		return Member{Pod: pod, ID: "v-" + pod, UID: "u-" + pod, Leads: leads, Revision: "1", Target: "1", Settings: "new", Run: "morning"}
	}
	f := Facts{
		Order: record.Rollout{ID: "o", State: record.Open, Settings: "new", Limit: record.Duration(time.Minute)}, Left: time.Minute, Leads: true,
		Major: 17, WantedMajor: 17, Members: []Member{m("p", true), m("r0", false), m("r1", false)}, Quiet: time.Hour,
	}
	for _, c := range changes {
		c(&f)
	}
	return f
}

// at changes one member.
func at(pod string, change func(*Member)) func(*Facts) {
	return func(f *Facts) {
		for i := range f.Members {
			if f.Members[i].Pod == pod {
				change(&f.Members[i])
			}
		}
	}
}

func stale(m *Member)                 { m.Target = "2" }
func unfit(m *Member)                 { m.Problem = "it does not stream" }
func unfitFor(m *Member)              { m.Problem, m.For = "it does not stream", time.Minute }
func pending(m *Member)               { m.Pending = []string{"max_connections"} }
func raised(m *Member)                { m.Raised = []string{"max_connections"} }
func unusable(m *Member)              { m.Unusable = []string{"work_mem: setting could not be applied"} }
func old(m *Member)                   { m.Settings = "old" }
func fenced(m *Member)                { m.Fenced, m.Problem = true, "it is stopped" }
func alone(f *Facts)                  { f.Members = f.Members[:1] }
func restarted(m *Member)             { m.Run = "noon" }
func replaced(m *Member)              { m.UID, m.Target, m.Revision = "another", "2", "2" }
func soaks(f *Facts)                  { f.Order.Soak = record.Duration(time.Minute) }
func step(s record.Step) func(*Facts) { return func(f *Facts) { f.Order.Step = &s } }

func podStep(pod string) func(*Facts) {
	return step(record.Step{Member: "v-" + pod, Pod: pod, UID: "u-" + pod})
}
func serverStep(pod string) func(*Facts) {
	return step(record.Step{Member: "v-" + pod, Pod: pod, Run: "morning"})
}

func TestWhatIsDoneNext(t *testing.T) {
	everybodyStale := []func(*Facts){at("p", stale), at("r0", stale), at("r1", stale)}
	for name, c := range map[string]struct {
		facts Facts
		deed  Deed
		step  string // pod, and what of it
		says  string
	}{
		"nothing_to_do":                      {site(), Finish, "", "all 3 members are of the newest revision"},
		"nothing_to_do_is_looked_at_again":   {site(func(f *Facts) { f.Quiet = time.Second }), Wait, "", "looking whether"},
		"new_revision_begins_with_a_replica": {site(everybodyStale...), Begin, "r0 pod", "older revision"},
		"second_replica_after_the_first":     {site(at("p", stale), at("r1", stale)), Begin, "r1 pod", "older revision"},
		"switchover_after_the_replicas":      {site(at("p", stale)), SwitchOver, "", "switching over"},
		"old_primary_after_the_switchover": {site(func(f *Facts) { f.Members[0].Leads, f.Members[1].Leads = false, true }, at("p", stale)),
			Begin, "p pod", "older revision"},
		"replica_does_not_come_back":                         {site(at("p", stale), at("r1", stale), at("r0", replaced), at("r0", unfit), podStep("r0")), Wait, "", "r0 was restarted and is not back: it does not stream"},
		"replica_does_not_come_back_for_good":                {site(at("p", stale), at("r1", stale), at("r0", replaced), at("r0", unfit), podStep("r0"), func(f *Facts) { f.Left = 0 }), Stop, "", "nothing has gone on for 1m0s: r0 was restarted and is not back"},
		"replica_was_back_and_failed_afterwards":             {site(at("p", stale), at("r1", stale), at("r0", unfit)), Wait, "", "r0 is not fit, and nothing else is restarted"},
		"unfit_of_an_old_revision_may_come_back":             {site(at("r0", stale), at("r0", unfit)), Wait, "", "r0 is not fit"},
		"unfit_of_an_old_revision_is_replaced":               {site(at("r1", stale), at("r1", unfitFor), at("r0", stale)), Begin, "r1 pod", "not fit"},
		"unfit_of_the_new_revision_is_not":                   {site(at("r1", unfitFor), at("r0", stale)), Wait, "", "r1 is not fit"},
		"old_pod_still_ends":                                 {site(at("r0", stale), at("r0", func(m *Member) { m.Deleting = true }), podStep("r0")), Wait, "", "old pod ends"},
		"killed_between_record_and_deletion":                 {site(at("r0", stale), podStep("r0")), Begin, "r0 pod", "replacing r0"},
		"killed_before_the_deletion_and_another_is_away_now": {site(at("r0", stale), at("r1", unfit), podStep("r0")), Wait, "", "r0 is not replaced while another is not fit: r1"},
		"new_pod_is_not_there":                               {site(at("r0", func(m *Member) { m.UID = "" }), podStep("r0")), Wait, "", "not there yet"},
		"killed_after_the_member_was_back":                   {site(at("r0", replaced), podStep("r0")), End, "r0 pod", "r0 is back"},
		"first_one_is_watched":                               {site(at("r0", replaced), podStep("r0"), soaks), Watch, "r0 pod", "watched for 1m0s"},
		"first_one_is_being_watched": {site(at("r0", replaced), soaks, step(record.Step{Pod: "r0", UID: "u-r0", Watched: true, Soak: record.Duration(time.Second)})),
			Wait, "", "watched for another 1s"},
		"first_one_fails_while_watched": {site(at("r0", replaced), at("r0", unfit), soaks, step(record.Step{Pod: "r0", UID: "u-r0", Watched: true, Soak: record.Duration(time.Second)})),
			Wait, "", "not back"},
		"first_one_was_watched":                       {site(at("r0", replaced), soaks, step(record.Step{Pod: "r0", UID: "u-r0", Watched: true})), End, "r0 pod", "back"},
		"second_one_is_not_watched":                   {site(at("r1", replaced), podStep("r1"), soaks, func(f *Facts) { f.Order.Soaked = true }), End, "r1 pod", "back"},
		"set_was_scaled_down_meanwhile":               {site(podStep("r7")), End, "r7 pod", "no longer asked for"},
		"no_leader":                                   {site(at("r0", stale), func(f *Facts) { f.Leads = false }), Wait, "", "no member leads"},
		"failover_in_the_middle":                      {site(at("r0", replaced), podStep("r0"), func(f *Facts) { f.Leads = false }), Wait, "", "no member leads"},
		"api_does_not_answer":                         {site(at("r0", stale), func(f *Facts) { f.Unknown = "503" }), Wait, "", "503"},
		"paused":                                      {site(at("r0", stale), func(f *Facts) { f.PauseLeft = time.Hour }), Wait, "", "role resume"},
		"somebody_switches_over":                      {site(at("r0", stale), func(f *Facts) { f.Intent = "the switchover x is under way" }), Wait, "", "under way"},
		"switchover_was_refused":                      {site(at("p", stale), func(f *Facts) { f.Refused = "no member is fit" }), Stop, "", "no member is fit"},
		"another_major":                               {site(append(everybodyStale, func(f *Facts) { f.WantedMajor = 18 })...), Stop, "", "refused before anything was restarted"},
		"settings_that_no_server_starts_with":         {site(append(everybodyStale, at("p", unusable))...), Stop, "", "no server would start with the settings: work_mem: setting could not be applied"},
		"settings_that_a_server_did_not_take_before":  {site(at("p", old), at("p", unusable)), Wait, "", "does not go by the settings"},
		"settings_have_not_come":                      {site(append(everybodyStale, at("p", old))...), Wait, "", "p does not go by the settings"},
		"settings_have_not_come_to_a_replica":         {site(at("r0", old)), Wait, "", "r0 does not go by the settings"},
		"replica_of_an_old_revision_without_settings": {site(at("r0", old), at("r0", stale)), Begin, "r0 pod", ""},
		"member_is_replaced_by_somebody_else":         {site(at("r0", stale), at("r1", func(m *Member) { m.Deleting = true })), Wait, "", "r1 is being replaced"},
		"fenced_one_is_left":                          {site(at("r0", fenced), at("r0", stale)), Finish, "", "left as they are: r0"},
		"leader_that_no_set_asks_for":                 {site(at("p", func(m *Member) { m.Leads = false })), Wait, "", "none that the StatefulSets ask for"},

		"raised_setting_begins_with_a_replica":   {site(at("p", pending), at("r0", pending), at("r1", pending)), Begin, "r0 server", "max_connections wait for a restart"},
		"replica_restarts":                       {site(at("p", pending), serverStep("r0")), Wait, "", "r0: the server restarts"},
		"replica_restarted_and_does_not_stream":  {site(at("p", pending), at("r0", restarted), at("r0", unfit), serverStep("r0")), Wait, "", "not back"},
		"replica_is_back":                        {site(at("p", pending), at("r0", restarted), serverStep("r0")), End, "r0 server", "back"},
		"raised_setting_ends_with_a_switchover":  {site(at("p", pending)), SwitchOver, "", "switching over"},
		"lowered_setting_begins_with_the_leader": {site(at("p", pending), at("r0", raised), at("r1", raised)), Begin, "p server", "the leader must do first"},
		"lowered_setting_waits_for_the_replicas": {site(at("r0", raised), func(f *Facts) { f.Quiet = 10 * time.Second }), Wait, "", "r0 keeps max_connections"},
		"lowered_setting_ends_with_the_replicas": {site(at("r0", pending), at("r1", raised)), Begin, "r0 server", ""},
		"setting_that_one_set_has_more_of":       {site(at("r0", raised)), Finish, "", "all 3"},
		"one_raised_and_one_lowered": {site(at("p", func(m *Member) { m.Pending = []string{"max_connections", "max_worker_processes"} }), at("r0", raised), at("r1", raised)),
			Begin, "p server", "max_connections come down"},
		"new_revision_and_lowered": {site(at("p", stale), at("p", pending), at("r0", raised)), SwitchOver, "", ""},

		"single_member_of_an_old_revision": {site(alone, at("p", stale)), Begin, "p pod", "nobody can write until it is back"},
		"single_member_with_settings":      {site(alone, at("p", pending)), Begin, "p server", "nobody can write until it is back"},
		"single_member_is_back":            {site(alone, at("p", replaced), podStep("p")), End, "p pod", ""},
		"only_other_member_is_fenced":      {site(at("p", stale), at("r0", fenced), at("r1", fenced)), Begin, "p pod", "no member to switch over to"},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(c.facts)
			what := ""
			if v.Step.Pod != "" {
				what = v.Step.Pod + map[bool]string{true: " server", false: " pod"}[v.Step.UID == ""]
			}
			if v.Deed != c.deed || what != c.step || !strings.Contains(v.Reason, c.says) {
				t.Errorf("got %d %q %q, want %d %q %q", v.Deed, what, v.Reason, c.deed, c.step, c.says)
			}
		})
	}
}
