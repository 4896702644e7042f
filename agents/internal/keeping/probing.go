package keeping

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/secondline"
)

const (
	// probeTime bounds a round of questions to all servers.
	probeTime = 8 * time.Second
	// probeSoon is when a round follows one whose write failed: a single failure is not told.
	probeSoon = 5 * time.Second
	// probeRarely is the longest wait between two writes that fail: it doubles up to that, since each may leave a session in a server that hangs.
	probeRarely = 5 * time.Minute
	// remind is how often an alarm that lasts is told again as an event.
	remind = 5 * time.Minute
	// rewindRole is the one that keeper's certificate logs in as over the network. It owns nothing; what is asked needs no rights.
	rewindRole = "pgspan_rewind"
)

// secondLine is the state of the loop below.
type secondLine struct {
	write    secondline.Write // the last one that was tried
	failed   int              // in a row
	writeAt  boottime.Instant // not before
	said     [2]string        // the alarms as they were last told
	remindAt boottime.Instant
}

// probeEvery is between two rounds.
func (k *Keeper) probeEvery() time.Duration {
	if s := k.look().secondLine; s != nil && s.Failed == 1 {
		return min(probeSoon, k.o.ProbeEvery)
	}
	return k.o.ProbeEvery
}

// noteWrite keeps what became of a write, and says when the next one may be tried.
func (s *secondLine) noteWrite(now boottime.Instant, w secondline.Write) {
	s.write = w
	if w.Err == nil {
		s.failed, s.writeAt = 0, 0
		return
	}
	s.failed++
	s.writeAt = now.Add(min(probeSoon<<min(s.failed-1, 10), probeRarely) - time.Second) // rounds are not exact
}

// probing is the second line of defence: with no regard to leases the leader makes a write through the Service for writing, and asks each server
// itself whether it writes. What it finds is told, loudly, and moves nothing: a probe that could depose a primary would be one more way to lose it.
func (k *Keeper) probing() func(context.Context) error {
	var state secondLine
	return func(ctx context.Context) error {
		before, leads := k.writes()
		if !leads {
			state = secondLine{}
			k.change(func(n *known) { n.secondLine = nil })
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		f := secondline.Facts{Pod: k.o.Pod, SystemID: k.systemID(k.look()), Addresses: k.addresses()}
		began := boottime.Now()
		var all sync.WaitGroup
		trying := k.o.Probe != "" && began >= state.writeAt
		f.Write = state.write
		if trying {
			all.Go(func() { f.Write = k.probeWrite(ctx, state.failed) })
		}
		f.Others = k.askServers(ctx)
		all.Wait()
		took := boottime.Now().Sub(began)
		now, still := k.writes()
		f.Led = still && now == before
		v := secondline.Judge(f)
		if !v.Known {
			return nil
		}
		if trying {
			state.noteWrite(boottime.Now(), f.Write)
		}
		out := &observed.SecondLine{Writers: 1 + len(v.Writers), Unheard: len(v.Unheard), TwoWriters: v.TwoWriters, WriteFailed: v.WriteFailed, Failed: state.failed}
		if trying && f.Write.Err == nil {
			seconds := took.Seconds()
			out.WriteSeconds = &seconds
		}
		k.change(func(n *known) { n.secondLine = out })
		k.tellSecondLine(&state, v)
		if f.Write.Err != nil && v.WriteFailed == "" {
			return fmt.Errorf("probe a write: %w", f.Write.Err)
		}
		return nil
	}
}

// writes says in which epoch this member leads, its server writes, and the Service leads to it.
func (k *Keeper) writes() (epoch.Epoch, bool) {
	n, v, now := k.look(), k.view(), boottime.Now()
	s := n.freshStatus(now)
	return v.Record.Epoch, v.InForce(now) && k.issuer.inForce() && s != nil && !s.InRecovery && n.published == v.Record.Epoch
}

// addresses are all of this pod's.
func (k *Keeper) addresses() []string {
	out := []string{k.o.PodIP}
	for _, pod := range k.look().pods {
		if pod.UID == k.o.PodUID {
			out = append(out, pod.IPs...)
		}
	}
	return out
}

// probeWrite makes one write through the Service.
func (k *Keeper) probeWrite(ctx context.Context, failed int) secondline.Write {
	w := secondline.Write{Tried: true, Failed: failed}
	host, port, err := net.SplitHostPort(k.o.Probe)
	if err != nil {
		w.Err = err
		return w
	}
	who, err := k.remote(ctx, host, "", port, pg.Remote.Write)
	w.Server, w.Err = who.Server, err
	return w
}

// askServers asks every other member's server whether it writes: the record's, and whoever else has a pod.
func (k *Keeper) askServers(ctx context.Context) []secondline.Answer {
	asked := map[string]record.Member{}
	for _, pod := range k.look().pods {
		if pod.UID != k.o.PodUID && len(pod.IPs) > 0 {
			asked[pod.Name] = record.Member{Pod: pod.Name, Host: k.host(pod.Name), Address: pod.IPs[0]}
		}
	}
	for _, m := range k.view().Record.Known() {
		if m.ID != k.me().Member {
			asked[m.Pod+" "+m.Address] = m // a pod of the same name may have come in its place: both are asked
			if p, ok := asked[m.Pod]; ok && p.Address == m.Address {
				delete(asked, m.Pod)
			}
		}
	}
	var mu sync.Mutex
	var out []secondline.Answer
	var all sync.WaitGroup
	for _, m := range asked {
		all.Go(func() {
			who, err := k.remote(ctx, m.Host, m.Address, strconv.Itoa(k.settings.Port), pg.Remote.Identify)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, secondline.Answer{Pod: m.Pod, Writable: err == nil && !who.InRecovery, SystemID: who.SystemID, Err: err})
		})
	}
	all.Wait()
	return out
}

func (k *Keeper) remote(ctx context.Context, host, address, port string, ask func(pg.Remote, context.Context) (pg.Identity, error)) (pg.Identity, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return pg.Identity{}, fmt.Errorf("port %s: %w", port, err)
	}
	secure, err := k.peers.TLS(host)
	if err != nil {
		return pg.Identity{}, err
	}
	return ask(pg.Remote{Host: host, Address: address, Port: int(number), User: rewindRole, TLS: secure}, ctx)
}

// tellSecondLine tells an alarm when it begins, each round in the log while it lasts, now and then as an event, and once when it is over.
func (k *Keeper) tellSecondLine(state *secondLine, v secondline.Verdict) {
	now := boottime.Now()
	again := now.Sub(state.remindAt) >= remind
	tell := func(i int, reason, sentence, over string) {
		changed := sentence != state.said[i]
		switch {
		case sentence != "":
			k.log.Error("second line of defence", "alarm", reason, "reason", sentence)
			if changed || again {
				k.events.Tell(true, reason, sentence)
				state.remindAt = now
			}
		case changed:
			k.log.Info("second line of defence: over", "alarm", reason)
			k.events.Tell(false, reason+"Over", over)
		}
		state.said[i] = sentence
	}
	tell(0, "TwoWriters", v.TwoWriters, "one member writes")
	tell(1, "WriteProbeFailed", v.WriteFailed, "the Service for writing takes writes")
}
