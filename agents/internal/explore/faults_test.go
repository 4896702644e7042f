package explore

import (
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/judge"
)

// fault is something that happens to one member and passes.
type fault struct {
	name string
	do   func(s *sim, h *host, long bool)
}

// faults of one run; the first alternative of a choice is none.
var faults = []fault{
	{name: "server killed", do: func(_ *sim, h *host, _ bool) {
		if h.server != nil {
			h.server.die()
		}
	}},
	{name: "keeper killed", do: func(s *sim, h *host, long bool) {
		if h.keeper == nil {
			return
		}
		h.endKeeper()
		pod := h.pod
		var again func()
		again = func() {
			switch {
			case h.keeper != nil || h.guard == nil || h.pod != pod:
			case h.guard.frozen: // nothing starts on a frozen node
				s.after(100*time.Millisecond, nil, again)
			default:
				h.bootKeeper()
			}
		}
		s.after(span(long, 300*time.Millisecond, 6*time.Second), nil, again)
	}},
	{name: "pod replaced", do: func(s *sim, h *host, long bool) {
		h.endPod()
		s.after(span(long, 500*time.Millisecond, 8*time.Second), nil, func() { s.again(h, true) })
	}},
	{name: "node rebooted", do: func(s *sim, h *host, long bool) {
		h.reboot()
		s.after(span(long, time.Second, 9*time.Second), nil, func() { s.again(h, false) })
	}},
	{name: "node frozen", do: func(s *sim, h *host, long bool) {
		frozen := h.processes()
		for _, p := range frozen {
			p.freeze()
		}
		// Most freezes that matter end about when the lease does.
		d := span(long, 2*time.Second, 7*time.Second)
		if i := s.pick(30, 0.8); long && i > 0 {
			d = 3500*time.Millisecond + time.Duration(i)*50*time.Millisecond
		}
		s.after(d, nil, func() { h.thaw(frozen) })
	}},
	{name: "server frozen", do: func(s *sim, h *host, long bool) {
		if sv := h.server; sv != nil {
			sv.freeze()
			s.after(span(long, time.Second, 7*time.Second), nil, sv.thaw)
		}
	}},
	{name: "keeper frozen", do: func(s *sim, h *host, long bool) {
		if k := h.keeper; k != nil {
			k.freeze()
			s.after(span(long, time.Second, 7*time.Second), nil, k.thaw)
		}
	}},
	{name: "guard frozen", do: func(s *sim, h *host, _ bool) {
		if g := h.guard; g != nil {
			g.freeze()
			s.after(300*time.Millisecond, nil, g.thaw)
		}
	}},
	{name: "cut from the API", do: func(s *sim, h *host, long bool) { s.cut(h, true, false, span(long, time.Second, 8*time.Second)) }},
	{name: "cut from its peers", do: func(s *sim, h *host, long bool) { s.cut(h, false, true, span(long, time.Second, 8*time.Second)) }},
	{name: "cut from everything", do: func(s *sim, h *host, long bool) { s.cut(h, true, true, span(long, time.Second, 8*time.Second)) }},
	{name: "API down", do: func(s *sim, _ *host, long bool) {
		for _, h := range s.hosts {
			s.cut(h, true, false, span(long, time.Second, 18*time.Second))
		}
	}},
	{name: "hand-over asked for", do: func(s *sim, h *host, long bool) { s.handOver(long) }},
	{name: "right given up", do: func(s *sim, h *host, long bool) { s.giveUp(long) }},
	{name: "restarted for its settings", do: func(_ *sim, h *host, _ bool) {
		if k := h.keeper; k != nil && h.server != nil {
			k.rerun, k.rerunAt = h.server.pid, h.clock()
		}
	}},
}

func span(long bool, a, b time.Duration) time.Duration {
	if long {
		return b
	}
	return a
}

func (h *host) processes() []*process {
	var out []*process
	if h.keeper != nil {
		out = append(out, &h.keeper.process)
	}
	if h.guard != nil {
		out = append(out, &h.guard.process)
	}
	if h.server != nil {
		out = append(out, &h.server.process)
	}
	return out
}

// thaw lets processes go on. Where guard and keeper were frozen together, the server may be quicker than the fence for a moment.
func (h *host) thaw(processes []*process) {
	was := h.frozen()
	for _, p := range processes {
		p.thaw()
	}
	if was && !h.frozen() {
		h.zombieUntil = h.s.now + 400*time.Millisecond + worstDeath
	}
}

func (s *sim) again(h *host, newPod bool) {
	if !h.up() {
		h.endPod()
		h.startPod(newPod)
	}
}

func (s *sim) cut(h *host, api, peers bool, d time.Duration) {
	set := func(v bool) {
		if api {
			s.net.api[h.id] = v
		}
		for i := range s.hosts {
			if peers && i != h.id {
				s.net.links[h.id][i] = v
			}
		}
	}
	set(true)
	s.after(d, nil, func() { set(false) })
}

// handOver lets the leader give the right away, as for the end of a pod.
func (s *sim) handOver(named bool) {
	k := s.leader().keeper
	if k == nil || k.handover != nil || !k.loop.View().InForce(k.h.clock()) {
		return
	}
	heir := ""
	if sv := k.h.server; named && sv != nil {
		if streams := sv.streaming(); len(streams) > 0 {
			heir = memberOf(streams[0])
		}
	}
	k.handover = &judge.Handover{Heir: heir, Reason: "asked for"}
}

// giveUp is a leader that finds its server not to be well. Whether it is right does not matter to the protocol.
func (s *sim) giveUp(kill bool) {
	k := s.leader().keeper
	if k == nil || k.handover != nil || !k.loop.View().InForce(k.h.clock()) {
		return
	}
	k.handover, k.unfitUntil = &judge.Handover{Reason: "not well", Unclean: true, Kill: kill}, k.h.clock().Add(5*time.Second)
}

// choices of one tick: none, or a fault of a member, short or long.
var choices = 1 + len(faults)*members*2

// strike does what a choice says. Members are named by what they are to the record: its holder, and the two others.
func (s *sim) strike(choice int) {
	if choice == 0 {
		return
	}
	choice--
	f, who, long := faults[choice/(members*2)], choice/2%members, choice%2 == 1
	h := s.hosts[(s.leader().id+who)%members]
	s.note("fault: %s, member %d, long %v", f.name, h.id, long)
	f.do(s, h, long)
}

func nameOf(choice int) string {
	if choice == 0 {
		return "nothing"
	}
	choice--
	return fmt.Sprintf("%s (leader+%d, long %v)", faults[choice/(members*2)].name, choice/2%members, choice%2 == 1)
}

// heal ends every fault.
func (s *sim) heal() {
	s.net = network{}
	for _, h := range s.hosts {
		for _, p := range h.processes() {
			p.holds = min(p.holds, 1)
		}
		h.thaw(h.processes())
		switch {
		case h.guard != nil && h.keeper == nil:
			h.bootKeeper()
		case !h.up():
			s.again(h, true)
		}
	}
}

const (
	calmTime  = 4 * time.Second // until the first fault
	faultTime = 18 * time.Second
	faultTick = 250 * time.Millisecond
	// bound is how long after the last fault somebody must lead again: a claim that has just been renewed has to run out, a server that was
	// promoted without success for 2 s, a member without an answer from the store goes on alone for 15 s.
	bound = 45 * time.Second
)

// run lets a release live through faults. It returns when all is well again, or something never is.
func (s *sim) run(faultAt func(tick int) int) {
	for s.facts.violation == "" && s.step(calmTime) {
	}
	tick := 0
	for at := calmTime; at < calmTime+faultTime && s.facts.violation == ""; at += faultTick {
		s.sight()
		s.strike(faultAt(tick))
		tick++
		for s.facts.violation == "" && s.step(at+faultTick) {
		}
	}
	s.heal()
	s.note("healed")
	quiet := s.now
	s.odd = 0
	acks := 0
	for s.facts.violation == "" && s.now < quiet+bound {
		until := s.now + faultTick
		before := s.facts.acks
		for s.facts.violation == "" && s.step(until) {
		}
		s.sight()
		if acks++; s.facts.acks == before || !s.whole() {
			acks = 0
		}
		if acks > 3 {
			return
		}
	}
	if s.facts.violation == "" {
		s.violate("%v after the last fault not all is well: %s", bound, s.describe())
	}
}

// whole: the recorded leader acknowledges, and the others have its past and follow it.
func (s *sim) whole() bool {
	l := s.leader().server
	if l == nil || !l.writable() {
		return false
	}
	for _, h := range s.hosts {
		if h.server == l {
			continue
		}
		if h.server == nil || h.server.receiver == nil || h.server.receiver.up != l || h.volume.wal.shared(l.h.volume.wal) < len(h.volume.wal) {
			return false
		}
	}
	return true
}

func (s *sim) describe() string {
	out := fmt.Sprintf("record of %s by %s, released %v", s.store.rec.Version(), s.store.rec.Holder.Member, s.store.rec.Released)
	for _, h := range s.hosts {
		out += fmt.Sprintf("; member %d: ", h.id)
		if h.keeper != nil {
			out += fmt.Sprintf("%s %q, ", h.keeper.last.Role, h.keeper.last.Reason)
		}
		if h.guard != nil {
			out += fmt.Sprintf("server %s, line %d at %d", h.guard.kind, h.volume.wal.line(), len(h.volume.wal))
		}
	}
	return out
}

// end stops the coroutines.
func (s *sim) end() {
	for _, h := range s.hosts {
		if h.keeper != nil {
			h.keeper.lane.stop()
		}
	}
}
