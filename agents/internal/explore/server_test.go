package explore

import (
	"time"

	"github.com/pgspan/pgspan/agents/internal/guarding"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/quorum"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// server is a PostgreSQL server, as far as the protocol goes.
type server struct {
	process
	h        *host
	pid      int
	recovery bool
	ready    bool
	replayed int // a standby's
	follows  int // host that it is configured to stream from; -1: nobody
	receiver *stream
	senders  []*stream
	ending   bool
	promote  bool
	reign    guarding.Reign // it writes, or is to write, in
	waiting  []int          // commits that are not acknowledged, by position
	// sync is synchronous_standby_names.
	sync quorum.Set
	// queued: a client has sent something to a frozen server.
	queued bool
}

// stream is a walsender and its receiver.
type stream struct {
	up, down *server
	cut      bool // the receiver is gone, or the sender
	sent     int
	flushed  int
}

func (sv *server) s() *sim { return sv.h.s }

// boot starts a server on the volume of h. How far it replays at first is chance.
func boot(h *host, recovery bool, follows int) *server {
	sv := &server{process: process{s: h.s, rate: h.rate}, h: h, recovery: recovery, follows: follows, sync: quorum.Nobody()}
	h.pids++
	sv.pid = h.pids
	sv.start()
	v := &h.volume
	slow := h.s.jitter(100*time.Millisecond, 700*time.Millisecond, 3*time.Second)
	sv.replayed = max(1, len(v.wal)-[]int{6, 0, 30}[h.s.pick(3, h.s.odd)]) // it begins at a restart point
	h.s.after(slow/2, &sv.process, func() { sv.ready = true })
	h.s.after(slow, &sv.process, func() {
		sv.replayed = len(v.wal)
		sv.ready = true
	})
	sv.every(100*time.Millisecond, sv.connect)
	return sv
}

func (sv *server) every(d time.Duration, do func()) {
	sv.s().after(d, &sv.process, func() {
		do()
		sv.every(d, do)
	})
}

// die ends the server's processes; its streams end with it.
func (sv *server) die() {
	if !sv.alive {
		return
	}
	sv.kill()
	sv.hangUp()
	for _, st := range sv.senders {
		st.end()
	}
}

func (st *stream) end() {
	st.cut = true
	if st.down.receiver == st {
		st.down.receiver = nil
	}
}

func (sv *server) hangUp() {
	if sv.receiver != nil {
		sv.receiver.end()
	}
}

// configure is what a reload makes of primary_conninfo. The receiver ends, and a new one starts later.
func (sv *server) configure(follows int) {
	if sv.follows != follows {
		sv.follows = follows
		sv.hangUp()
	}
}

// connect starts a receiver. The sender compares timelines and positions; contents it cannot compare.
func (sv *server) connect() {
	s, w := sv.s(), &sv.h.volume
	if st := sv.receiver; st != nil && (st.cut || !s.net.linked(sv.h.id, st.up.h.id)) {
		sv.hangUp()
	}
	if !sv.recovery || sv.follows < 0 || sv.receiver != nil || sv.replayed < len(w.wal) || sv.promote {
		return
	}
	up := s.hosts[sv.follows].server
	if up == nil || !up.alive || up.frozen || !up.ready || up.ending || !s.net.linked(sv.h.id, sv.follows) {
		return
	}
	theirs := up.h.volume.wal
	if where, _ := timeline.Relate(w.wal.line(), lsn.LSN(len(w.wal)), theirs.line(), theirs.lines()); where != timeline.On || len(w.wal) > len(theirs) {
		return // refused: it is ahead of the fork, or of the flushed position
	}
	if w.wal.shared(theirs) < len(w.wal) {
		s.violate("timeline %d of members %d and %d has two pasts", w.wal.line(), sv.h.id, sv.follows)
		return
	}
	st := &stream{up: up, down: sv, sent: len(w.wal), flushed: len(w.wal)}
	sv.receiver = st
	up.senders = append(up.senders, st)
	st.send()
}

// send carries what the receiver does not have yet.
func (st *stream) send() {
	s := st.up.s()
	theirs := st.up.h.volume.wal
	if st.cut || st.sent >= len(theirs) || !st.up.alive {
		return
	}
	from, batch := st.sent, append(wal(nil), theirs[st.sent:]...)
	st.sent = len(theirs)
	s.after(s.jitter(2*time.Millisecond, 30*time.Millisecond, 300*time.Millisecond), &st.down.process, func() { st.take(from, batch) })
}

// take is the receiver's: write, flush, answer. The answer is on its way even when the stream is cut right after.
func (st *stream) take(from int, batch wal) {
	s, down := st.up.s(), st.down
	v := &down.h.volume
	switch {
	case st.cut || down.receiver != st:
		return
	case !s.net.linked(down.h.id, st.up.h.id) || from != len(v.wal):
		st.end()
		return
	}
	v.wal = append(v.wal, batch...)
	down.replayed = len(v.wal)
	at := len(v.wal)
	s.after(s.jitter(2*time.Millisecond, 30*time.Millisecond, 300*time.Millisecond), &st.up.process, func() {
		st.flushed = max(st.flushed, at)
		st.up.acknowledge()
	})
}

func (sv *server) flushedBy(host int) int {
	n := -1
	for _, st := range sv.senders {
		if st.down.h.id == host {
			n = max(n, st.flushed)
		}
	}
	return n
}

// streaming are the hosts that stream from this server.
func (sv *server) streaming() []int {
	var out []int
	for _, h := range sv.s().hosts {
		for _, st := range sv.senders {
			if st.down.h == h && !st.cut {
				out = append(out, h.id)
				break
			}
		}
	}
	return out
}

func (sv *server) writable() bool { return sv.alive && sv.ready && !sv.recovery && !sv.ending }

// write is a client that holds a session with this very server.
func (sv *server) write() {
	s, v := sv.s(), &sv.h.volume
	if !sv.writable() {
		return
	}
	if sv.frozen { // the query waits in the socket and is the first thing after a thaw
		if !sv.queued {
			sv.queued = true
			s.after(0, &sv.process, func() { sv.queued = false; sv.write() })
		}
		return
	}
	s.facts.ids++
	v.wal = v.wal.add(v.wal.line(), s.facts.ids)
	sv.waiting = append(sv.waiting, len(v.wal))
	sv.push()
	s.after(2*time.Millisecond, &sv.process, sv.acknowledge)
}

func (sv *server) push() {
	live := sv.senders[:0]
	for _, st := range sv.senders {
		if !st.cut {
			st.send()
		}
		if !st.cut || st.flushed < len(sv.h.volume.wal) {
			live = append(live, st)
		}
	}
	if len(live) < 50 {
		sv.senders = live
	} else {
		sv.senders = live[len(live)-50:]
	}
}

// acknowledge tells the client of every commit that is where it must be.
func (sv *server) acknowledge() {
	s := sv.s()
	if !sv.alive || sv.recovery {
		return
	}
	still := sv.waiting[:0]
	for _, at := range sv.waiting {
		on := 0
		for _, m := range sv.sync.Members {
			if sv.flushedBy(hostOf(m)) >= at {
				on++
			}
		}
		if s.sync && on < sv.sync.K {
			still = append(still, at)
			continue
		}
		s.acknowledged(sv, at)
	}
	sv.waiting = still
}

// open makes a promoted standby writable on line, when it has replayed all it has.
func (sv *server) open(line uint32, done func()) {
	s, v := sv.s(), &sv.h.volume
	if sv.replayed < len(v.wal) || !sv.ready {
		s.after(50*time.Millisecond, &sv.process, func() { sv.open(line, done) })
		return
	}
	v.wal = v.wal.add(line, 0)
	sv.replayed, sv.recovery, v.signal, v.clean = len(v.wal), false, false, false
	sv.sync = quorum.Nobody()
	done()
	s.opened(sv)
	sv.push()
}

// shutDown is a fast shutdown: no more commits, the last of WAL goes to all that stream, then it is over.
func (sv *server) shutDown(done func()) {
	s, v := sv.s(), &sv.h.volume
	sv.ending = true
	sv.hangUp()
	if sv.recovery {
		s.after(50*time.Millisecond, &sv.process, done)
		return
	}
	v.wal = v.wal.add(v.wal.line(), 0)
	sv.push()
	tries := 0
	var wait func()
	wait = func() {
		tries++
		for _, st := range sv.senders {
			if !st.cut && st.flushed < len(v.wal) && tries < 40 {
				s.after(50*time.Millisecond, &sv.process, wait)
				return
			}
		}
		v.clean = true
		done()
	}
	s.after(50*time.Millisecond, &sv.process, wait)
}
