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
	case f.Adopt != "":
		return adopted(f, v)
	default:
		return person(dataSentence(f, v))
	}
}

func dataSentence(f Facts, v grant.Volume) string {
	return fmt.Sprintf("this volume holds a database (system id %s, timeline %d, epoch %s) and there is no lease %s that says who leads: "+
		"set the value bootstrap.adopt to %s if no other copy is newer; otherwise %s",
		v.SystemID, v.Timeline, v.HighestEpoch, f.Lease, offer(f.Pod, f.newest(v.SystemID)), choice(f))
}

// traces are the pods whose volumes hold a database or have noted one.
func (f Facts) traces() []string {
	traces := slices.Clone(f.Others.WithData)
	for _, v := range f.Others.Volumes {
		if v.SystemID != "" && !slices.Contains(traces, v.Pod) {
			traces = append(traces, v.Pod)
		}
	}
	slices.Sort(traces)
	return traces
}

// emptyWithoutRecord: initdb needs a claim, and no trace of an older database anywhere (rule 19).
func emptyWithoutRecord(f Facts) Verdict {
	traces := f.traces()
	switch {
	case len(traces) > 0 && f.Adopt != "":
		return adopted(f, grant.Volume{Empty: true})
	case len(traces) > 0:
		return person(fmt.Sprintf("this volume is empty, but volumes of the release (%s) hold or held a database and there is no lease %s: "+
			"%s; a new database needs another release name, or volumes that never held one", strings.Join(traces, ", "), f.Lease, choice(f)))
	case !f.BornPrimary:
		return wait("waiting for the first primary to create the database")
	}
	if f.Store.Seen && f.Store.Vacant > 0 {
		return wait(fmt.Sprintf("the lease was removed less than %s ago; a leader that is still in force would write it again", f.Store.AbsentWait))
	}
	r := record.Record{Format: record.Format, Holder: f.Me, Epoch: firstEpoch, Timeline: 1, Bootstrap: &record.Bootstrap{Member: f.Me.Member}}
	r.Members = listed(nil, record.Member{ID: f.Me.Member, Pod: f.Pod, Host: f.Host, Address: f.IP, Port: f.Port})
	out := wait("no lease, no data anywhere in the release: claiming to create the database")
	out.Do, out.Record = Create, r
	return out
}
