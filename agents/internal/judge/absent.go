package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// firstEpoch is the first reign of a new database.
var firstEpoch = epoch.Epoch{Site: 1, Local: 1}

// withoutRecord: the store answered that there is no record. That is no invitation: an empty volume is no proof of a new database,
// and data without a record may be the older of two copies (rule 19, D24).
func withoutRecord(f Facts) Verdict {
	v, looked := f.volume()
	switch {
	case f.Store.InForce || f.Local.PreviousInForce:
		return keep("the record was removed while this member leads; it is written again") // D12, done by the lease loop
	case f.Draining:
		return wait("ending")
	case !looked:
		return wait("the volume has not been inspected yet")
	case !f.Others.Known:
		return wait("the release's volumes are not known yet")
	case v.Empty:
		return emptyWithoutRecord(f)
	case f.Adopt == f.Pod:
		return adopt(f, v)
	case f.Adopt != "":
		return wait(fmt.Sprintf("bootstrap.adopt names %s as the leader; waiting for it", f.Adopt))
	default:
		return person(dataSentence(f, v))
	}
}

func dataSentence(f Facts, v grant.Volume) string {
	return fmt.Sprintf("this volume holds a database (system id %s, timeline %d, epoch %s) and there is no lease %s that says who leads: "+
		"if no other copy is newer, set the value bootstrap.adopt to %s, or to the pod that has the newest data (%s)",
		v.SystemID, v.Timeline, v.HighestEpoch, f.Lease, f.Pod, strings.Join(described(f.Others.Volumes), "; "))
}

func described(volumes []Volume) []string {
	out := []string{}
	for _, v := range volumes {
		if v.SystemID == "" {
			out = append(out, v.Pod+": no data noted")
			continue
		}
		out = append(out, fmt.Sprintf("%s: epoch %s on timeline %d", v.Pod, v.Epoch, v.Timeline))
	}
	slices.Sort(out)
	return out
}

// emptyWithoutRecord: initdb needs a claim, and no trace of an older database anywhere (rule 19).
func emptyWithoutRecord(f Facts) Verdict {
	traces := slices.Clone(f.Others.WithData)
	for _, v := range f.Others.Volumes {
		if v.SystemID != "" && !slices.Contains(traces, v.Pod) {
			traces = append(traces, v.Pod)
		}
	}
	slices.Sort(traces)
	switch {
	case len(traces) > 0 && f.Adopt != "":
		return wait(fmt.Sprintf("bootstrap.adopt names %s as the leader; waiting for it", f.Adopt))
	case len(traces) > 0:
		return person(fmt.Sprintf("this volume is empty, but volumes of the release (%s) hold or held a database and there is no lease %s: "+
			"set the value bootstrap.adopt to the pod whose data is to live on; or delete the old volume claims to begin anew", strings.Join(traces, ", "), f.Lease))
	case !f.BornPrimary:
		return wait("waiting for the first primary to create the database")
	}
	r := record.Record{Format: record.Format, Holder: f.Me, Epoch: firstEpoch, Timeline: 1, Bootstrap: &record.Bootstrap{Member: f.Me.Member}}
	r.Members = listed(nil, record.Member{ID: f.Me.Member, Pod: f.Pod, Host: f.Host, Address: f.IP, Port: f.Port})
	out := wait("no lease, no data anywhere in the release: claiming to create the database")
	out.Do, out.Record = Create, r
	return out
}

// adopt: a person says that this member's data is the database. Its epoch is above every one that any volume has noted.
func adopt(f Facts, v grant.Volume) Verdict {
	if f.copied(v) {
		// The person may not know that it is one: the original may live and be newer.
		return person(fmt.Sprintf("bootstrap.adopt names this pod, but its volume is a copy of member %s's: a copy never leads by itself; name the pod that has the original", v.Noted))
	}
	highest, lines := v.HighestEpoch, []uint32{v.Timeline, v.PrimaryLine}
	for _, o := range f.Others.Volumes {
		if o.SystemID != v.SystemID {
			continue // epochs are compared within one database only (rule 22)
		}
		if o.Epoch.Compare(highest) > 0 {
			highest = o.Epoch
		}
		lines = append(lines, o.Timeline)
	}
	if highest.IsZero() {
		highest.Site = firstEpoch.Site
	}
	r := next(f, record.Record{Format: record.Format, SystemID: v.SystemID}, highest, lines...)
	if at, ok := checkpoint(v); ok {
		r.LSN = at
	}
	out := wait(fmt.Sprintf("adopting this volume's database as bootstrap.adopt says: epoch %s on timeline %d", r.Epoch, r.Timeline))
	out.Do, out.Record = Create, r
	return out
}
