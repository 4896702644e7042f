package explore

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/guarding"
	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	members  = 3
	systemID = "7300000000000000001"
)

// host is a node with one member's pod on it.
type host struct {
	s    *sim
	id   int
	me   grant.Incarnation
	rate float64 // of its clock, against true time
	base boottime.Instant
	from moment
	boot int
	pod  int
	pids int

	volume  volume
	control *control
	// rendered is the host that the configuration on disk names as the upstream; -1: none.
	rendered int
	keeper   *keeper
	guard    *guard
	server   *server
	// keeperLock: keeper holds the volume's lock.
	keeperLock bool
	// zombieUntil is the end of the moment in which a server that was frozen together with its guard may go on before the guard acts.
	zombieUntil moment
}

func memberOf(id int) string { return fmt.Sprintf("pvc-%c", 'a'+id) }
func hostOf(member string) int {
	return int(member[len(member)-1] - 'a')
}

// clock is CLOCK_BOOTTIME of this boot.
func (h *host) clock() boottime.Instant {
	return h.base.Add(time.Duration(float64(h.s.now-h.from) * h.rate))
}

// locked: somebody else than guard holds the volume's lock.
func (h *host) locked() bool { return h.keeperLock }

// reboot begins another boot: no clock, no memory volume and no process is left.
func (h *host) reboot() {
	h.endPod()
	h.boot++
	h.base, h.from = boottime.Instant(1e12*int64(h.boot+h.id+1)), h.s.now
}

// endPod kills all of the pod's processes. The next one of that name has another memory volume.
func (h *host) endPod() {
	if h.keeper != nil {
		h.endKeeper()
	}
	if h.guard != nil {
		h.guard.kill()
		h.guard = nil
	}
	if h.server != nil {
		h.server.die()
		h.server = nil
	}
	h.keeperLock = false
	h.control = &control{}
}

func (h *host) endKeeper() {
	h.keeper.kill()
	h.keeper.lane.stop()
	h.keeper, h.keeperLock = nil, false
}

// startPod starts keeper and guard of a new incarnation.
func (h *host) startPod(newPod bool) {
	if newPod {
		h.pod++
	}
	h.me = grant.Incarnation{Member: memberOf(h.id), Pod: fmt.Sprintf("pod-%d.%d", h.id, h.pod), Boot: fmt.Sprintf("boot-%d.%d", h.id, h.boot)}
	h.bootKeeper()
	h.bootGuard()
}

func (h *host) up() bool { return h.keeper != nil && h.guard != nil }

// frozen: guard is, and there is no keeper that could go on.
func (h *host) frozen() bool {
	return h.guard != nil && h.guard.frozen && (h.keeper == nil || h.keeper.frozen)
}

// newSim is a release that was shut down properly: every member holds all, and the record was released.
func newSim(c *chooser, synchronous bool, b broken) *sim {
	s := &sim{chooser: c, sync: synchronous, broken: b}
	s.facts.reigns, s.facts.seen = map[uint32]guarding.Reign{}, map[uint64]struct{}{}
	first := epoch.Epoch{Site: 1, Local: 1}
	r := record.Record{
		Format: record.Format, Holder: grant.Incarnation{Member: memberOf(0), Pod: "pod-of-before", Boot: "boot-of-before"}, Released: true, Heir: memberOf(0),
		Duration: record.Duration(timing.Duration), FenceAfter: record.Duration(timing.FenceAfter), Beat: 1, Epoch: first, Reign: "first", Timeline: 1, Opened: 1,
		LSN: 1, SystemID: systemID,
	}
	if synchronous {
		s.demand = demands[c.pick(len(demands), 0.7)]
		r.Sync = &record.Sync{K: 1, Members: []string{memberOf(1), memberOf(2)}}
	}
	past := wal{}.add(1, 0).add(1, 0)
	rates := []float64{1, 0.93, 1.07}
	for i := range members {
		h := &host{s: s, id: i, control: &control{}, rate: rates[c.pick(3, 0.5)]}
		h.volume = volume{wal: append(wal(nil), past...), signal: true, note: notes.Member{Member: memberOf(i), SystemID: systemID, HighestEpoch: first}}
		r.Members = append(r.Members, record.Member{ID: memberOf(i), Pod: memberOf(i), Host: memberOf(i), Address: "10.0.0.1", Port: 5432})
		s.hosts = append(s.hosts, h)
		h.reboot()
		h.startPod(true)
	}
	s.hosts[0].volume.note.Primary, s.hosts[0].volume.note.PrimaryLine, s.hosts[0].volume.note.PrimaryReign = first, 1, "first"
	s.store.rec, s.store.version = r, 1
	s.facts.reigns[1] = guarding.Reign{Epoch: first, Name: "first", Timeline: 1}
	s.clients()
	return s
}

// clients write to every server that lets them, all the time.
func (s *sim) clients() {
	for _, h := range s.hosts {
		if h.server != nil {
			h.server.write()
		}
	}
	s.after(120*time.Millisecond, nil, s.clients)
}

// leader is the host that the store names.
func (s *sim) leader() *host { return s.hosts[hostOf(s.store.rec.Holder.Member)] }

// sight is the shape of the present state, without times and positions: how many of them were seen tells how far an exploration got.
func (s *sim) sight() {
	h := fnv.New64a()
	r := s.store.rec
	fmt.Fprint(h, r.Released, len(r.Heir) > 0, hostOf(r.Holder.Member), r.Opened == r.Timeline, r.Sync != nil && len(r.Sync.Members) > 1)
	for i, m := range s.hosts {
		fmt.Fprint(h, "|", m.up(), s.net.api[i], s.net.links[i])
		if k := m.keeper; k != nil {
			v := k.loop.View()
			fmt.Fprint(h, k.frozen, v.Mine, v.InForce(m.clock()), v.Record.Epoch == r.Epoch, free(v, m.clock()), k.last.Role, k.last.Vote, k.handover != nil, k.position.known)
		}
		if g := m.guard; g != nil {
			fmt.Fprint(h, g.frozen, g.kind, g.fired, g.stopping, g.following.Upstream.Member, !m.volume.note.Vote.IsZero() && m.volume.note.Vote == r.Version(), m.volume.signal)
		}
		if sv := m.server; sv != nil {
			fmt.Fprint(h, sv.alive, sv.frozen, sv.recovery, sv.receiver != nil, sv.sync.K, len(sv.sync.Members))
		}
	}
	s.facts.seen[h.Sum64()] = struct{}{}
}

func byChance(seed uint64, odd float64) *chooser {
	return &chooser{rng: rand.New(rand.NewPCG(seed, 7)), odd: odd}
}
