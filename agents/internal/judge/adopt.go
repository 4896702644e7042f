package judge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// leap is by how much an adoption skips ahead. What the volumes have noted may be older than what the lost leader has used: a reign is
// noted on its claim after it has begun, and goes back when the API's storage is restored.
const leap = 100

// An adoption is the word of a person: this pod's data is the database, as long as nothing newer than what the person was shown has
// been. The new epoch is above that one, so that the same word never acts a second time, however long it stays in the values.
type adoption struct {
	pod  string
	upTo epoch.Epoch
	// dated: an epoch was given.
	dated bool
}

// adoptionOf reads <pod>@<site>.<local>, or <pod>.
func adoptionOf(text string) (adoption, error) {
	pod, e, dated := strings.Cut(text, "@")
	a := adoption{pod: pod, dated: dated}
	if !dated {
		return a, nil
	}
	site, local, _ := strings.Cut(e, ".")
	var err error
	if a.upTo.Site, err = strconv.ParseUint(site, 10, 32); err == nil {
		a.upTo.Local, err = strconv.ParseUint(local, 10, 32)
	}
	if err != nil || pod == "" {
		return adoption{}, fmt.Errorf("%q is not <pod>@<epoch>", text)
	}
	return a, nil
}

// offer is the value of bootstrap.adopt that makes pod's data the database, given the newest epoch that is noted of that database.
func offer(pod string, newest epoch.Epoch) string {
	if newest.IsZero() {
		return pod
	}
	return pod + "@" + newest.String()
}

// newest is the newest epoch that a volume has noted of the database id; epochs are compared within one database only (rule 22).
func (f Facts) newest(id string) epoch.Epoch {
	var out epoch.Epoch
	if v, looked := f.volume(); looked && v.SystemID == id {
		out = v.HighestEpoch
	}
	for _, o := range f.Others.Volumes {
		if o.SystemID == id && o.Epoch.Compare(out) > 0 {
			out = o.Epoch
		}
	}
	return out
}

// lines are the timelines on which other volumes of the database id are, as far as they have noted it.
func (f Facts) lines(id string) []uint32 {
	var out []uint32
	for _, o := range f.Others.Volumes {
		if o.SystemID == id {
			out = append(out, o.Timeline)
		}
	}
	return out
}

// adopted judges a release with data, without a record, in which a person has named who is to lead.
func adopted(f Facts, v grant.Volume) Verdict {
	a, err := adoptionOf(f.Adopt)
	switch {
	case err != nil:
		return person(fmt.Sprintf("the value bootstrap.adopt cannot be understood: %s; %s", err, choice(f)))
	case !slices.ContainsFunc(f.Others.Volumes, func(o Volume) bool { return o.Pod == a.pod }):
		return person(fmt.Sprintf("the value bootstrap.adopt names %s, and the release has no volume of such a pod; %s", a.pod, choice(f)))
	case a.pod == f.Pod && v.Empty, a.pod != f.Pod && slices.Contains(f.Others.Empty, a.pod):
		return person(fmt.Sprintf("the value bootstrap.adopt names %s, whose volume is empty; %s", a.pod, choice(f)))
	case a.pod != f.Pod:
		return wait(fmt.Sprintf("bootstrap.adopt names %s as the leader; waiting for it", a.pod))
	}
	return adopt(f, v, a)
}

// adopt: a person says that this member's data is the database. Its epoch is above every one that any volume has noted.
func adopt(f Facts, v grant.Volume, a adoption) Verdict {
	if f.copied(v) {
		// The person may not know that it is one: the original may live and be newer.
		return person(fmt.Sprintf("bootstrap.adopt names this pod, but its volume is a copy of member %s's: a copy never leads by itself; name the pod that has the original", v.Noted))
	}
	highest := f.newest(v.SystemID)
	switch {
	case !a.dated && !highest.IsZero():
		return person(fmt.Sprintf("the value bootstrap.adopt is %s and must say up to which epoch it is meant, so that it acts only once; %s", f.Adopt, choice(f)))
	case a.dated && !highest.IsZero() && (a.upTo.Site != highest.Site || highest.Compare(a.upTo) > 0):
		return person(fmt.Sprintf("bootstrap.adopt was given for epoch %s and this release has seen %s: it acts only once; %s", a.upTo, highest, choice(f)))
	case f.Store.Vacant > 0:
		return wait(fmt.Sprintf("bootstrap.adopt names this pod; there has been no lease for less than %s, in which a leader that is still in force "+
			"would write it again", f.Store.AbsentWait))
	case a.upTo.Compare(highest) > 0:
		highest = a.upTo
	}
	if highest.Site == 0 {
		highest.Site = firstEpoch.Site
	}
	r := next(f, record.Record{Format: record.Format, SystemID: v.SystemID}, highest, append(f.lines(v.SystemID), v.Timeline, v.PrimaryLine)...)
	r.Epoch.Local = (highest.Local/leap + 1) * leap
	r.Timeline += leap - 1
	if at, ok := checkpoint(v); ok {
		r.LSN = at
	}
	// What the lost record promised is lost with it, and how far this volume's WAL goes is not known before it has been replayed: until the leader
	// has written a promise of its own, nobody succeeds it without having heard it.
	r.Sync = &record.Sync{}
	out := wait(fmt.Sprintf("adopting this volume's database as bootstrap.adopt says: epoch %s on timeline %d", r.Epoch, r.Timeline))
	out.Do, out.Record = Create, r
	return out
}

// choice tells a person what can be said, and what each volume holds.
func choice(f Facts) string {
	out := []string{}
	for _, v := range f.Others.Volumes {
		id, line, e := v.SystemID, v.Timeline, v.Epoch
		if own, looked := f.volume(); looked && v.Pod == f.Pod && own.SystemID != "" { // known better than by its claim
			id, line, e = own.SystemID, own.Timeline, own.HighestEpoch
		}
		switch {
		case id != "":
			out = append(out, fmt.Sprintf("%s (epoch %s on timeline %d)", offer(v.Pod, f.newest(id)), e, line))
		case slices.Contains(f.Others.WithData, v.Pod):
			out = append(out, v.Pod+" (nothing noted)")
		}
	}
	slices.Sort(out)
	return "set the value bootstrap.adopt to the one whose data is to live on, in these words: " + strings.Join(out, ", ")
}
