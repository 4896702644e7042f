package keeping

import (
	"reflect"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/members"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/settings"
	"github.com/pgspan/pgspan/agents/internal/timeline"
)

// known is what the loops have found out, each its part. It is guarded by Keeper.mu; what it points to is never changed.
type known struct {
	member string // PVC UID
	claim  kube.Claim
	pods   []kube.Pod
	others judge.Others

	state        *grant.State
	volumeSince  boottime.Instant // when this pod's seed or guard was first seen to have the volume's lock, without interruption; 0: it was not
	refusedSince boottime.Instant // when the state was first seen to refuse a start, without interruption; 0: it does not
	standbySince boottime.Instant // when the server was first seen as a standby in its present run; 0: it is none

	status   *pg.Status
	statusAt boottime.Instant
	senders  []pg.Sender
	slots    []pg.Slot
	figures  *pg.Figures
	figured  string // what guard had rendered when figures were asked for (told); empty: it may not have been read
	walRate  *float64

	free, size   *uint64
	segmentSeen  int64 // size of the WAL files of the server that ran last
	crammed      bool  // the volume is full
	certificates map[string]float64

	position position                    // while this member votes
	voters   map[string]boottime.Instant // when each other member's position was last heard in an election; never changed in place
	heard    []judge.Standing            // what the others answered, while the record is free

	able             []string        // who can write to the store while this leader cannot; never changed in place
	gaveWay          gaveWay         // to one of them, in vain so far
	handover         *judge.Handover // this member leads and gives the right away
	handoverSince    boottime.Instant
	handoverEpoch    epoch.Epoch
	handoverLimit    time.Duration // after which it is called off
	handoverPrepared time.Duration // before the server was told to stop

	care  judge.Treatment // what this leader has found about its server
	unfit unfit           // this member gave the right up by its own wish

	pulseAt   boottime.Instant // when the server last answered, be it by a refusal
	filesAt   boottime.Instant // when one of the server's files was last seen to have changed
	flushed   lsn.LSN          // how far the server's WAL is on disk, and when that was last seen to grow
	flushedAt boottime.Instant

	attempt     attempt            // a switchover that this process has begun
	intentSaid  string             // what was last said of an intent
	lifted      string             // id of the pause that a person has ended
	unfenced    string             // name of this member's fence that a person has lifted while nobody led
	published   epoch.Epoch        // for which the Service for writing was seen to lead here
	publishedAt boottime.Instant   // when that was first seen
	passage     *passage           // how this member has come to lead, while that is being measured; never changed in place
	transition  *record.Transition // the last one that was measured here

	heardAt map[string]boottime.Instant // when each known member's keeper was last heard by this leader, or a listed one first missed; never changed in place
	fit     map[string]members.Fit      // what each said last; never changed in place

	pleaAt  boottime.Instant // when a leader last asked for a promise
	wroteAt boottime.Instant // when this member last wrote to the store to show that it can

	rerun       rerun  // of this member's server, for its settings
	rolloutSaid string // what was last said of the rollout that this leader carries out

	stranger      string // whom the standby streams from although it was told otherwise, and since when
	strangerSince boottime.Instant

	mute mute // of an upstream that sends nothing

	adopt   string               // a person's word, as the settings say now
	mode    settings.Synchronous // as the settings say now
	modeAt  time.Time
	modeNew boottime.Instant // when the settings were last seen to change; 0: not by this process
	waiting waiting
	sync    *observed.Sync // what the leader knows of its synchronous set; nil: nothing is kept
	covered life           // the server whose first WAL the synchronous members have

	secondLine *observed.SecondLine // what the leader found when it last asked the servers themselves; nil: nothing

	memo     memo  // what is noted for a next process; Format 0: nothing
	recalled *memo // what the process before this one noted, until this one has had a write confirmed

	confirmed uint64 // renewals, when news.lists was last cut back

	verdict  judge.Verdict
	lastView viewKey
	news     news
}

// viewKey is what of a lease view wakes the other loops when it changes.
type viewKey struct {
	known         lease.Known
	mine, inForce bool
	epoch         epoch.Epoch
	released      bool
	members       int
	bootstrap     bool
	opened        uint32
	trouble       bool
}

// news is what the next renewals put into the record, as long as the record is of this epoch.
type news struct {
	epoch      epoch.Epoch
	lsn        lsn.LSN
	systemID   string
	opened     uint32
	lines      []timeline.Line
	members    []record.Member
	away       []record.Member   // beside members
	lists      [][]record.Member // that may have been written since the last confirmed write, members among them
	statements int
	done       bool // the database is made: the claim goes
	sync       *record.Sync
	syncTold   bool // sync is to be in the record, nil too
	transition *record.Transition
}

// syncPending reports whether the record does not say yet what it was last told about the synchronous set.
func (n news) syncPending(r record.Record) bool {
	return n.syncTold && n.epoch == r.Epoch && !reflect.DeepEqual(promised(record.Record{Sync: n.sync}), promised(r))
}

// apply is called by the lease loop on each renewal.
func (n news) apply(r *record.Record) {
	if n.epoch != r.Epoch {
		return
	}
	if n.lsn != 0 {
		r.LSN = n.lsn
	}
	if r.SystemID == "" {
		r.SystemID = n.systemID
	}
	if n.opened == r.Timeline {
		r.Opened, r.Lines = n.opened, n.lines
	}
	if n.members != nil {
		r.Members, r.Away = n.members, n.away
	}
	if n.syncTold {
		r.Sync = n.sync
	}
	if n.transition != nil {
		r.Transition = n.transition
	}
	switch {
	case r.Bootstrap == nil:
	case n.done && r.SystemID != "":
		r.Bootstrap = nil
	case n.statements > r.Bootstrap.Statements:
		b := *r.Bootstrap
		b.Statements = n.statements
		r.Bootstrap = &b
	}
}

// change alters what is known.
func (k *Keeper) change(f func(*known)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.known)
}

// tellRecord alters the news of the present epoch and hands them to the lease loop. One at a time: what is handed over last is what the record becomes,
// and a set that is already in force must not be taken back by an older one.
func (k *Keeper) tellRecord(e epoch.Epoch, f func(*news)) {
	k.tellMu.Lock()
	defer k.tellMu.Unlock()
	k.mu.Lock()
	if k.known.news.epoch != e {
		k.known.news = news{epoch: e}
	}
	f(&k.known.news)
	n := k.known.news
	k.mu.Unlock()
	if !k.remember(nil) {
		return // a list that the next process would not know of is not written
	}
	if l := k.loop.Load(); l != nil {
		l.Carry(lease.News{Record: n.apply})
	}
}

func (k *Keeper) look() known {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known
}

const (
	// statusAge is how old the server's word may be; stateAge guard's. Both write or are asked every second at least.
	statusAge = 5 * time.Second
	stateAge  = 3 * time.Second
	// recordAge is how old the record's position may be for a lag to rest on it.
	recordAge = 3 * time.Second
)

// freshStatus is the server's word if it is not too old.
func (n known) freshStatus(now boottime.Instant) *pg.Status {
	if n.status == nil || now.Sub(n.statusAt) > statusAge {
		return nil
	}
	return n.status
}

// Snapshot is what is known now, for metrics, health and publishing.
func (k *Keeper) Snapshot() observed.Snapshot {
	n, v, now := k.look(), k.view(), boottime.Now()
	recalls := v.Recalls(now)
	if recalls {
		v.Record.Epoch = v.Recalled.Epoch
	}
	s := observed.Snapshot{
		At: time.Now(), Leader: v.Mine || recalls, Granted: (v.InForce(now) || recalls) && k.issuer.inForce(), Epoch: v.Record.Epoch, Reason: n.verdict.Reason,
		Person: n.verdict.Person, Server: n.freshStatus(now), Renewals: v.Renewals, Failures: v.Failures, Failsafe: v.Failsafe && (v.InForce(now) || recalls),
		SecondLine: n.secondLine, VolumeFree: n.free, VolumeSize: n.size, Certificates: n.certificates, Loops: k.loops.all(),
	}
	if v.Answered != 0 {
		age := now.Sub(v.Answered).Seconds()
		s.RenewAge = &age
	}
	if o := v.Record.Rollout; o != nil && v.Mine {
		s.Rollout = map[record.State]string{record.Open: "open", record.Done: "done", record.Refused: "stopped"}[o.State]
	}
	if n.transition != nil {
		s.Transition = map[string]float64{}
		for _, stage := range n.transition.Stages {
			s.Transition[stage.Name] = time.Duration(stage.Took).Seconds()
		}
	}
	if n.state != nil {
		s.Phase, s.KilledAll, s.StopSeconds = string(n.state.Phase), n.state.KilledAll, n.state.StopSeconds
	}
	if s.Server == nil {
		return s
	}
	if n.mute.since != 0 && now.Sub(n.mute.since) >= judge.MuteAfter {
		s.Refused = n.mute.refusal
	}
	s.Timeline = s.Server.Timeline
	s.Sync = n.sync
	s.Senders, s.Slots, s.Figures, s.WALPerSecond = n.senders, n.slots, n.figures, n.walRate
	var leader *lsn.LSN
	if v.Known == lease.Present && !v.Mine && v.Record.LSN != 0 && now.Sub(v.Answered) <= recordAge {
		leader = &v.Record.LSN
	}
	s.Lag = observed.LagOf(*s.Server, leader)
	return s
}
