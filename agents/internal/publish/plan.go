// Package publish makes known what this member is: labels and annotations on its own pod and volume claim, events, and, as the holder of the
// record only, where the Service for writing leads. It follows the facts; nothing is ever decided by what was published (T-71).
package publish

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/kube"
)

// Labels and annotations.
const (
	LabelCluster   = "pgspan.io/cluster"
	LabelComponent = "app.kubernetes.io/component"
	LabelRole      = "pgspan.io/role"
	LabelLeader    = "pgspan.io/leader"

	AnnotationMember   = "pgspan.io/member"    // pod: PVC UID
	AnnotationVolume   = "pgspan.io/volume"    // pod: "data" or "empty", as seed found it
	AnnotationSettings = "pgspan.io/settings"  // pod: the settings that a rollout waits for, so that kubelet brings them
	AnnotationBeat     = "pgspan.io/beat"      // pod: written while the leader cannot write to the API
	AnnotationSystemID = "pgspan.io/system-id" // PVC: data of this database is, or was, on it; EndpointSlice: the epoch is of this database
	AnnotationEpoch    = "pgspan.io/epoch"     // PVC and EndpointSlice
	AnnotationTimeline = "pgspan.io/timeline"  // PVC
)

// Component is the value of LabelComponent on database pods.
const Component = "database"

// Selector finds the database pods of a release.
func Selector(release string) string {
	return LabelCluster + "=" + release + "," + LabelComponent + "=" + Component
}

// Writer is who may be written to, in which epoch of which database.
type Writer struct {
	Pod, PodUID, Node string
	Addresses         []string
	Port              int
	SystemID          string
	Epoch             epoch.Epoch
	// Held: this pod leads, and nobody is to be sent to it yet (SAFETY D14).
	Held bool
}

// SliceName is the EndpointSlice of a Service for one address family. The family of a slice cannot change, so each has its own name.
func SliceName(service string, f kube.Family) string {
	if f == kube.IPv6 {
		return service + "-ipv6"
	}
	return service + "-ipv4"
}

// Slices are the EndpointSlices that lead a Service to w, one for each family that the Service has and the pod has an address of.
func Slices(service kube.Service, w Writer, labels map[string]string) []kube.Slice {
	var out []kube.Slice
	for _, family := range service.Families {
		i := slices.IndexFunc(w.Addresses, func(a string) bool { return familyOf(a) == family })
		if i < 0 {
			continue
		}
		s := kube.Slice{
			Object: kube.Object{
				Name: SliceName(service.Name, family), Labels: maps.Clone(labels),
				Annotations: map[string]string{AnnotationEpoch: w.Epoch.String(), AnnotationSystemID: w.SystemID},
			},
			Family: family, Service: service.Object, Address: w.Addresses[i], Node: w.Node, Pod: w.Pod, PodUID: w.PodUID,
		}
		if w.Held {
			s.Address, s.Node, s.Pod, s.PodUID = "", "", "", ""
		}
		for _, p := range service.Ports {
			if p.Target == 0 { // named: there is one port that a Service for writing can mean
				p.Target = w.Port
			}
			s.Ports = append(s.Ports, p)
		}
		out = append(out, s)
	}
	return out
}

func familyOf(address string) kube.Family {
	a, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return ""
	case a.Unmap().Is4():
		return kube.IPv4
	default:
		return kube.IPv6
	}
}

// Change says what to do with a slice that exists.
type Change int

const (
	Leave Change = iota
	Replace
	// Refuse: a later epoch of this database is published. Whoever wants to write an older one has missed something (SAFETY D36).
	Refuse
)

// Compare judges the slice that is there against the one that is wanted. Epochs are numbers of one database: after all volumes were lost, the
// database that is made anew counts from the beginning, and the slice, which is the Service's, still tells of the old one. Only who holds
// the record of the new one gets here, and asks for it again before the write (see Lead).
func Compare(is, want kube.Slice) (Change, string) {
	have, err := epoch.Parse(is.Annotations[AnnotationEpoch])
	mine, mineErr := epoch.Parse(want.Annotations[AnnotationEpoch])
	switch {
	case mineErr != nil:
		return Refuse, "no epoch to publish"
	case want.Annotations[AnnotationSystemID] == "":
		return Refuse, "it is not known yet of which database this is"
	case is.Annotations[AnnotationSystemID] != "" && is.Annotations[AnnotationSystemID] != want.Annotations[AnnotationSystemID]:
		return Replace, fmt.Sprintf("database %s follows %s", want.Annotations[AnnotationSystemID], is.Annotations[AnnotationSystemID])
	case err == nil && have.Compare(mine) > 0:
		return Refuse, fmt.Sprintf("epoch %s is published and this is epoch %s", have, mine)
	case err != nil:
		return Replace, "the published endpoint has no epoch"
	case is.Annotations[AnnotationSystemID] == "":
		return Replace, "the published endpoint does not say of which database it is"
	case have != mine:
		return Replace, fmt.Sprintf("epoch %s follows %s", mine, have)
	case is.Address != want.Address || is.Node != want.Node || is.Pod != want.Pod || is.PodUID != want.PodUID ||
		is.Service.UID != want.Service.UID || !slices.Equal(is.Ports, want.Ports):
		return Replace, "the published endpoint is another"
	}
	return Leave, ""
}

// Marks returns what must be changed on an object so that it has the wanted labels and annotations; an empty wanted value means that the key
// is to be absent. changed is false when all is as wanted.
func Marks(o kube.Object, labels, annotations map[string]string) (m kube.Marks, changed bool) {
	m.Labels = differing(o.Labels, labels)
	m.Annotations = differing(o.Annotations, annotations)
	return m, len(m.Labels)+len(m.Annotations) > 0
}

func differing(is, want map[string]string) map[string]*string {
	out := map[string]*string{}
	for key, value := range want {
		have, there := is[key]
		switch {
		case value == "" && there:
			out[key] = nil
		case value != "" && (!there || have != value):
			out[key] = &value
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// Claim is what the annotations of a volume claim say of the data on it.
func Claim(c kube.Claim) (systemID string, e epoch.Epoch, timeline uint32) {
	systemID = c.Annotations[AnnotationSystemID]
	e, _ = epoch.Parse(c.Annotations[AnnotationEpoch]) // none noted: older than every epoch
	if _, err := fmt.Sscanf(c.Annotations[AnnotationTimeline], "%d", &timeline); err != nil {
		timeline = 0
	}
	return systemID, e, timeline
}

// Raised is what a claim's annotations are to be: they only grow, as long as the data is of one database.
func Raised(c kube.Claim, systemID string, e epoch.Epoch, timeline uint32) map[string]string {
	oldID, oldEpoch, oldTimeline := Claim(c)
	if oldID == systemID {
		if oldEpoch.Compare(e) > 0 {
			e = oldEpoch
		}
		timeline = max(timeline, oldTimeline)
	}
	return map[string]string{AnnotationSystemID: systemID, AnnotationEpoch: e.String(), AnnotationTimeline: fmt.Sprint(timeline)}
}
