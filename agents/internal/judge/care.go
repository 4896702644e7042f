package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// Condition is what is known of the server of a leader that renews its lease.
type Condition struct {
	Pod, Member string
	// Leads: the right is in force, the database is made, and nothing is being handed over. Heard: guard is.
	Leads, Heard bool
	// Unheard is for how long guard has not been.
	Unheard time.Duration
	// Stored: the store takes this leader's renewals. Otherwise the right cannot be given to anybody.
	Stored bool
	// Writes: the server accepts connections as a primary, by guard's word. Wrote: one did so earlier in this reign.
	Writes, Wrote bool
	// Full says that the volume has no room left for WAL; empty: it has.
	Full string
	// Unwritable is how long this reign has been in force without a server that writes.
	Unwritable time.Duration
	// Redo is how many bytes of WAL the server has to go through before it writes again, and Rate how many it does in a second; nil: not known.
	Redo *int64
	Rate float64
	// End is where the WAL on the disk of a server that does not write ends; 0: not known.
	End lsn.LSN
	// Mute is for how long the server has answered nobody and none of its files has changed; Stuck, for how long the volume has not finished
	// one small write, while the server's WAL stood still.
	Mute, Stuck time.Duration

	Record    record.Record
	Reliefs   []Relief
	PauseLeft time.Duration
	Limits    Limits
}

// Limits are a person's.
type Limits struct {
	// Promote is how long a leader may be without a server that writes, Recovery how long its crash recovery may be expected to take when that
	// loses less than another member would, Hang how long a server or a volume may be silent.
	Promote, Recovery, Hang time.Duration
	// MaxLag is how many bytes a winner may lack, in asynchronous mode.
	MaxLag int64
}

// Relief is another listed member, as one that might take over from a leader whose server is not well.
type Relief struct {
	Member, Pod string
	// Problem is why it was not heard, or must not lead, or could not; empty: it could.
	Problem string
	// Heard: it would vote.
	Heard bool
	// Reached is how far it has WAL on its disk.
	Reached  lsn.LSN
	Priority int
}

// Treatment is what a leader does about its server.
type Treatment struct {
	// GiveUp: the server is stopped, and the right goes to whoever is elected; Kill: by SIGKILL, because a shutdown would not end.
	GiveUp, Kill bool
	// Cause is why the right is given up, without who could take it.
	Cause string
	// Heir is who is to follow if the server's end is clean.
	Heir string
	// ReadOnly: the server runs as a standby that streams from nobody, until there is room to write.
	ReadOnly bool
	// Reason is empty when there is nothing to say.
	Reason string
	// Person: this member goes on trying, and a person is needed.
	Person bool
}

const (
	// quick is a crash recovery that is over sooner than an election.
	quick = 3 * time.Second
	// mostGivenUp is how often the right is given up in ten minutes by its leaders' own wish: storage that all share would only be slower for it
	// (SAFETY D36). A lease that runs out is always contested.
	mostGivenUp = 2
)

// Care decides what a leader whose keeper is well does about a server that is not. Its right is given up only when another member is fit to take
// it; otherwise it goes on trying.
func Care(c Condition) Treatment {
	switch {
	case c.Leads && c.Unheard >= c.Limits.Promote:
		return Treatment{Person: true, Reason: fmt.Sprintf("%s: guard has not been heard for %s, so nothing is known of the server, and the right stays here: look at the server's container, or delete the pod",
			c.Pod, c.Limits.Promote)}
	case !c.Leads || !c.Heard: // while guard is not heard, nothing is known of its server (SAFETY D11)
		return Treatment{}
	case c.Stuck >= c.Limits.Hang:
		return c.giveUp(fmt.Sprintf("its volume has not finished a small write for %s, nor any of the server's", c.Limits.Hang), true)
	case c.Full != "":
		return c.full()
	case c.Writes && c.Mute >= c.Limits.Hang:
		return c.giveUp(fmt.Sprintf("its server has answered nobody for %s, and none of its files has changed", c.Limits.Hang), true)
	case c.Writes:
		return Treatment{}
	case c.Wrote:
		return c.crashed()
	case c.Unwritable >= c.Limits.Promote:
		return c.giveUp(fmt.Sprintf("it was elected and has had no server that writes for %s (failover.promoteTimeout)", c.Limits.Promote), false)
	}
	return Treatment{}
}

// full: without room for WAL PostgreSQL ends, and so would every other one started on this volume. A member with room takes over; where none has any
// reads go on, and nobody is chosen again and again (SAFETY D41).
func (c Condition) full() Treatment {
	if t := c.giveUp(c.Full, false); t.GiveUp {
		return t
	}
	_, short := c.relief()
	return Treatment{ReadOnly: true, Person: true, Reason: fmt.Sprintf("%s: %s: read-only until there is room: delete what is not needed, or raise persistence.size; %s",
		c.Pod, c.Full, cmp.Or(short, "another member could lead, but not now"))}
}

// crashed: what the server has written is on its disk, and another member may lack some of it (SAFETY D27). It is restarted in place unless that
// takes long and a member that has all can do better, or it takes longer than a person allows.
func (c Condition) crashed() Treatment {
	if c.Redo == nil || c.Rate <= 0 {
		if c.Unwritable < c.Limits.Promote {
			return Treatment{Reason: "the server has crashed and is restarted in place; how much WAL it has to go through is not known"}
		}
		return c.giveUp(fmt.Sprintf("its server has crashed and not come back for %s (failover.promoteTimeout)", c.Limits.Promote), false)
	}
	takes := time.Duration(float64(*c.Redo) / c.Rate * float64(time.Second)).Round(time.Second)
	what := fmt.Sprintf("the server has crashed: %d MiB of WAL to go through, in about %s", *c.Redo>>20, takes)
	place := Treatment{Reason: what + ": restarted in place"}
	switch limit := max(c.Limits.Promote, c.Limits.Recovery); {
	case *c.Redo == 0 && c.Unwritable < c.Limits.Promote:
		return Treatment{} // it was shut down properly, and is about to start
	case takes <= quick && c.Unwritable < c.Limits.Promote:
		return place
	case takes <= quick:
		return c.giveUp(fmt.Sprintf("its server has crashed and not come back for %s (failover.promoteTimeout)", c.Limits.Promote), false)
	case c.Unwritable >= limit:
		return c.giveUp(fmt.Sprintf("its server has crashed and not come back for %s (failover.maxCrashRecovery)", limit), false)
	case takes > c.Limits.Recovery:
		return c.rather(what+", longer than failover.maxCrashRecovery", place)
	}
	if best, why := c.relief(); why == "" && (c.Record.Sync != nil || c.End != 0 && best.Reached >= c.End) {
		return c.rather(fmt.Sprintf("%s, and %s lacks nothing", what, best.Pod), place)
	}
	return place
}

// rather gives up if that can be done, and otherwise does what needs nobody.
func (c Condition) rather(why string, otherwise Treatment) Treatment {
	if t := c.giveUp(why, false); t.GiveUp {
		return t
	}
	return otherwise
}

func (c Condition) giveUp(why string, kill bool) Treatment {
	stays := func(because string) Treatment {
		return Treatment{Reason: fmt.Sprintf("%s: %s; %s, so it goes on trying", c.Pod, why, because), Person: true}
	}
	switch {
	case !c.Stored:
		return stays("the Kubernetes API takes no writes from it now")
	case c.PauseLeft > 0:
		return stays("elections are paused")
	case len(c.Record.GivenUp) >= mostGivenUp:
		return stays(fmt.Sprintf("the right was given up %d times in ten minutes: look at what the members have in common", len(c.Record.GivenUp)))
	}
	best, short := c.relief()
	if short != "" {
		return stays(short)
	}
	return Treatment{GiveUp: true, Kill: kill, Cause: why, Heir: best.Member, Reason: fmt.Sprintf("%s: %s; %s could lead", c.Pod, why, best.Pod)}
}

// relief finds out whether an election would have a winner, and who that probably is. Nobody is chosen by this: the members vote.
func (c Condition) relief() (best Relief, short string) {
	var fit []Relief
	var problems []string
	heard := []Standing{}
	for _, m := range c.Reliefs {
		if m.Heard {
			heard = append(heard, Standing{Member: m.Member})
		}
		// The record tells of a moment before the crash; the disk may hold more. It is not told to the record: no checksum of it was looked at.
		lag := max(c.Record.LSN, c.End).Sub(m.Reached)
		switch {
		case m.Problem != "":
			problems = append(problems, m.Pod+": "+m.Problem)
		case c.Record.Sync == nil && lag > c.Limits.MaxLag:
			problems = append(problems, fmt.Sprintf("%s lacks more than may be lost (failover.maxLagOnFailover)", m.Pod))
		default:
			fit = append(fit, m)
		}
	}
	switch {
	case len(c.Reliefs) == 0:
		return best, "there is no other member"
	case len(fit) == 0:
		return best, "no other member is fit to lead (" + strings.Join(problems, "; ") + ")"
	}
	if c.Record.Sync != nil {
		if c.Record.Sync.K == 0 {
			return best, "only this member is known to have all that was acknowledged"
		}
		if why := missing(c.Record, heard); why != "" {
			return best, why
		}
	}
	return slices.MinFunc(fit, func(a, b Relief) int {
		return cmp.Or(-cmp.Compare(a.Reached, b.Reached), -cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Member, b.Member))
	}), ""
}
