package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// settle is for how long nothing must have been left to do: what has just been told to a server shows in its own words a moment later.
	settle = 6 * time.Second
	// lower is how long a member that keeps a setting higher than asked for is waited for to learn that its leader has less now.
	lower = 30 * time.Second
	// broken is how long a member of an old revision must have been unfit before it is replaced for that: it may be about to come back.
	broken = 30 * time.Second
)

// Judge decides. A wait that has lasted too long is the end of the rollout: nothing is touched any more.
func Judge(f Facts) Verdict {
	v := judge(f)
	if v.Deed == Wait && f.Left <= 0 {
		return Verdict{Deed: Stop, Reason: fmt.Sprintf("stopped, because nothing has gone on for %s: %s", f.Order.Limit, v.Reason)}
	}
	return v
}

func judge(f Facts) Verdict {
	switch {
	case !f.Leads:
		return wait("no member leads and writes yet")
	case f.Unknown != "":
		return wait(f.Unknown)
	case f.Intent != "":
		return wait(f.Intent)
	case f.PauseLeft > 0:
		return wait(fmt.Sprintf("paused for another %s: \"role resume\" ends that", f.PauseLeft.Round(time.Second)))
	case f.Order.Step != nil:
		return f.under(*f.Order.Step)
	case f.Refused != "":
		return Verdict{Deed: Stop, Reason: "stopped before the primary: the switchover was refused: " + f.Refused}
	}
	return f.next()
}

// under judges the step that is under way.
func (f Facts) under(s record.Step) Verdict {
	i := slices.IndexFunc(f.Members, func(m Member) bool { return m.Pod == s.Pod })
	if i < 0 {
		return Verdict{Deed: End, Step: s, Reason: s.Pod + " is no longer asked for"}
	}
	m := f.Members[i]
	switch {
	case m.UID == "":
		return wait(s.Pod + ": the new pod is not there yet")
	case s.UID == m.UID && m.Deleting:
		return wait(s.Pod + ": the old pod ends")
	case s.UID == m.UID && f.away(m) != "": // it was interrupted before the pod was deleted, and much may have happened since
		return wait(s.Pod + " is not replaced while another is not fit: " + f.away(m))
	case s.UID == m.UID:
		return Verdict{Deed: Begin, Step: s, Reason: "replacing " + s.Pod + ": " + s.Reason}
	case s.UID == "" && (m.Run == s.Run || m.Run == ""):
		return wait(s.Pod + ": the server restarts" + because(m))
	case m.Problem != "":
		return wait(s.Pod + " was restarted and is not back: " + m.Problem)
	case s.UID != "" && f.Order.Soak > 0 && !f.Order.Soaked && !s.Watched:
		return Verdict{Deed: Watch, Step: s, Reason: fmt.Sprintf("%s is back, and is watched for %s because it is the first", s.Pod, f.Order.Soak)}
	case s.Watched && s.Soak > 0:
		return wait(fmt.Sprintf("%s is back, and is watched for another %s", s.Pod, time.Duration(s.Soak).Round(time.Second)))
	}
	return Verdict{Deed: End, Step: s, Reason: s.Pod + " is back"}
}

// away names a member besides m that does not serve as it should; empty: none.
func (f Facts) away(m Member) string {
	for _, other := range f.Members {
		if other.Pod != m.Pod && !other.Leads && !other.Fenced && (other.Problem != "" || other.Deleting || other.UID == "") {
			return other.Pod + because(other)
		}
	}
	return ""
}

func because(m Member) string {
	if m.Problem == "" {
		return ""
	}
	return ": " + m.Problem
}

// next chooses the next step. The order of the rows is the order of a rollout.
func (f Facts) next() Verdict {
	i := slices.IndexFunc(f.Members, func(m Member) bool { return m.Leads })
	if i < 0 {
		return wait("the leader's pod is none that the StatefulSets ask for")
	}
	leader := f.Members[i]
	var others []Member
	for _, m := range f.Members {
		if !m.Leads && !m.Fenced {
			others = append(others, m)
		}
	}
	slices.SortFunc(others, func(a, b Member) int { return cmp.Compare(a.Pod, b.Pod) })
	// The leader's own guard has rendered from them, so they can be used, and the major version is the one that is asked for.
	if leader.Settings != f.Order.Settings {
		return wait(leader.Pod + " does not go by the settings that were asked for yet: kubelet takes up to two minutes to bring them, and guard refuses wrong ones")
	}
	if f.Major != 0 && f.WantedMajor != 0 && f.Major != f.WantedMajor {
		return Verdict{Deed: Stop, Reason: fmt.Sprintf("refused before anything was restarted: the data is of PostgreSQL %d and postgresql.version is %d: "+
			"a rollout does not change the major version", f.Major, f.WantedMajor)}
	}
	if len(leader.Unusable) > 0 { // the leader's server has read them, and none would start with them
		return Verdict{Deed: Stop, Reason: "refused, and nothing was restarted: no server would start with the settings: " + strings.Join(leader.Unusable, "; ")}
	}
	if v, found := f.unfit(others); found {
		return v
	}
	if v, found := f.replica(others); found {
		return v
	}
	if v, found := f.leader(leader, others); found {
		return v
	}
	return f.idle(others)
}

// unfit: nobody is restarted while another does not serve, but for one that a new pod may cure.
func (f Facts) unfit(others []Member) (Verdict, bool) {
	for _, m := range others {
		if m.Problem != "" && m.stale() && !m.Deleting && m.For >= broken {
			return replace(m, "it is of an older revision, and not fit: "+m.Problem), true
		}
	}
	for _, m := range others {
		if m.Problem != "" {
			return wait(fmt.Sprintf("%s is not fit, and nothing else is restarted meanwhile: %s", m.Pod, m.Problem)), true
		}
		if m.Deleting || m.UID == "" {
			return wait(m.Pod + " is being replaced by somebody else"), true
		}
	}
	return Verdict{}, false
}

func (f Facts) replica(others []Member) (Verdict, bool) {
	for _, m := range others {
		if m.stale() {
			return replace(m, "it is of an older revision than its set"), true
		}
	}
	for _, m := range others {
		switch {
		case m.Settings != f.Order.Settings:
			return wait(m.Pod + " does not go by the settings that were asked for yet"), true
		case len(m.Pending) > 0:
			return restart(m, strings.Join(m.Pending, ", ")+" wait for a restart"), true
		}
	}
	return Verdict{}, false
}

// leader: the last one, by a switchover. Only two things are done in place: there is nobody to switch over to, or settings are to come down that a
// standby must have no less of than its leader, so that no standby could have them first.
func (f Facts) leader(l Member, others []Member) (Verdict, bool) {
	held := heldUp(l, others)
	switch {
	case l.Deleting:
		return wait(l.Pod + " ends"), true
	case l.stale() && len(others) == 0:
		return replace(l, "it is of an older revision than its set; there is no member to switch over to, so nobody can write until it is back"), true
	case l.stale():
		return Verdict{Deed: SwitchOver, Reason: l.Pod + " is of an older revision than its set: switching over"}, true
	case len(l.Pending) == 0:
		return Verdict{}, false
	case len(others) == 0:
		return restart(l, strings.Join(l.Pending, ", ")+" wait for a restart; there is no member to switch over to, so nobody can write until it is back"), true
	case len(held) > 0:
		return restart(l, strings.Join(held, ", ")+" come down, which the leader must do first, in place"), true
	}
	return Verdict{Deed: SwitchOver, Reason: fmt.Sprintf("%s wait for a restart of %s: switching over", strings.Join(l.Pending, ", "), l.Pod)}, true
}

// heldUp are the settings that wait for the leader's restart while a standby keeps them up because of the leader.
func heldUp(l Member, others []Member) []string {
	var held []string
	for _, name := range l.Pending {
		if slices.ContainsFunc(others, func(m Member) bool { return slices.Contains(m.Raised, name) }) {
			held = append(held, name)
		}
	}
	return held
}

// idle: nothing is left to do, as far as can be seen.
func (f Facts) idle(others []Member) Verdict {
	for _, m := range others {
		if len(m.Raised) > 0 && f.Quiet < lower {
			return Verdict{Idle: true, Reason: fmt.Sprintf("%s keeps %s until it has seen that its leader has less", m.Pod, strings.Join(m.Raised, ", "))}
		}
	}
	if f.Quiet < settle {
		return Verdict{Idle: true, Reason: "looking whether anything is left to do"}
	}
	var left []string
	for _, m := range f.Members {
		if m.Fenced {
			left = append(left, m.Pod)
		}
	}
	reason := fmt.Sprintf("all %d members are of the newest revision, and no setting waits for a restart", len(f.Members)-len(left))
	if len(left) > 0 {
		reason += "; fenced by hand, and left as they are: " + strings.Join(left, ", ")
	}
	return Verdict{Deed: Finish, Reason: reason}
}

func replace(m Member, why string) Verdict {
	return Verdict{Deed: Begin, Step: record.Step{Member: m.ID, Pod: m.Pod, UID: m.UID, Reason: why}, Reason: "replacing " + m.Pod + ": " + why}
}

func restart(m Member, why string) Verdict {
	return Verdict{Deed: Begin, Step: record.Step{Member: m.ID, Pod: m.Pod, Run: m.Run, Reason: why}, Reason: "restarting the server of " + m.Pod + ": " + why}
}
