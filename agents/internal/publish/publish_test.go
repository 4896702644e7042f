package publish

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/kube"
)

func writer() Writer {
	return Writer{Pod: "a-primary-0", PodUID: "u1", Node: "n1", Addresses: []string{"10.0.0.1", "fd00::1"}, Port: 5432, SystemID: "7", Epoch: epoch.Epoch{Site: 1, Local: 3}}
}

func service(families ...kube.Family) kube.Service {
	return kube.Service{Object: kube.Object{Name: "a-rw", UID: "s1"}, Families: families, Ports: []kube.ServicePort{{Name: "postgresql"}}}
}

func TestSlicesFollowTheServicesFamilies(t *testing.T) {
	for name, c := range map[string]struct {
		service kube.Service
		want    []string
	}{
		"single":                      {service(kube.IPv4), []string{"a-rw-ipv4 10.0.0.1"}},
		"ipv6_only":                   {service(kube.IPv6), []string{"a-rw-ipv6 fd00::1"}},
		"dual":                        {service(kube.IPv4, kube.IPv6), []string{"a-rw-ipv4 10.0.0.1", "a-rw-ipv6 fd00::1"}},
		"service_with_no_family_told": {service(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range Slices(c.service, writer(), nil) {
				got = append(got, s.Name+" "+s.Address)
				if s.Ports[0] != (kube.ServicePort{Name: "postgresql", Target: 5432}) || s.Annotations[AnnotationEpoch] != "1.3" || s.Annotations[AnnotationSystemID] != "7" {
					t.Errorf("got %+v", s)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	w := writer()
	w.Addresses = []string{"fd00::1"}
	if got := Slices(service(kube.IPv4), w, nil); len(got) != 0 {
		t.Errorf("pod without an address of the family: got %+v", got)
	}
}

func TestLateWriteOfAnOlderEpochIsRefused(t *testing.T) {
	want := Slices(service(kube.IPv4), writer(), nil)[0]
	for name, c := range map[string]struct {
		change func(*kube.Slice)
		want   Change
	}{
		"same":                         {func(*kube.Slice) {}, Leave},
		"older_epoch_is_there":         {func(s *kube.Slice) { s.Annotations[AnnotationEpoch] = "1.2" }, Replace},
		"later_local_epoch_is_there":   {func(s *kube.Slice) { s.Annotations[AnnotationEpoch] = "1.10" }, Refuse},
		"later_site_epoch_is_there":    {func(s *kube.Slice) { s.Annotations[AnnotationEpoch] = "2.1" }, Refuse},
		"epoch_removed_by_hand":        {func(s *kube.Slice) { delete(s.Annotations, AnnotationEpoch) }, Replace},
		"address_changed_by_hand":      {func(s *kube.Slice) { s.Address = "10.9.9.9" }, Replace},
		"emptied_by_hand":              {func(s *kube.Slice) { s.Address = "" }, Replace},
		"port_changed":                 {func(s *kube.Slice) { s.Ports = []kube.ServicePort{{Name: "postgresql", Target: 1}} }, Replace},
		"same_name_of_another_pod":     {func(s *kube.Slice) { s.PodUID = "u0" }, Replace},
		"service_was_made_again":       {func(s *kube.Slice) { s.Service.UID = "s0" }, Replace},
		"database_removed_by_hand":     {func(s *kube.Slice) { delete(s.Annotations, AnnotationSystemID) }, Replace},
		"later_epoch_of_no_database":   {func(s *kube.Slice) { delete(s.Annotations, AnnotationSystemID); s.Annotations[AnnotationEpoch] = "1.4" }, Refuse},
		"later_epoch_of_a_lost_one":    {func(s *kube.Slice) { s.Annotations[AnnotationSystemID] = "6"; s.Annotations[AnnotationEpoch] = "1.10" }, Replace},
		"same_epoch_of_a_lost_one":     {func(s *kube.Slice) { s.Annotations[AnnotationSystemID] = "6" }, Replace},
		"later_epoch_at_other_address": {func(s *kube.Slice) { s.Annotations[AnnotationEpoch] = "1.4"; s.Address = "10.9.9.9" }, Refuse},
	} {
		t.Run(name, func(t *testing.T) {
			is := want
			is.Annotations, is.Ports = maps.Clone(want.Annotations), slices.Clone(want.Ports)
			c.change(&is)
			if got, reason := Compare(is, want); got != c.want {
				t.Errorf("got %d (%s), want %d", got, reason, c.want)
			}
		})
	}
}

func TestHeldWriterTakesTheServiceAwayAndGetsItBack(t *testing.T) {
	open := writer()
	held := open
	held.Held = true
	is, want := Slices(service(kube.IPv4), open, nil)[0], Slices(service(kube.IPv4), held, nil)[0]
	if want.Address != "" || want.PodUID != "" {
		t.Errorf("held: got %+v", want)
	}
	for name, c := range map[string]struct {
		is, want kube.Slice
		change   Change
	}{"held_back": {is, want, Replace}, "stays_held_back": {want, want, Leave}, "opened_again": {want, is, Replace}} {
		if got, reason := Compare(c.is, c.want); got != c.change {
			t.Errorf("%s: got %d (%s), want %d", name, got, reason, c.change)
		}
	}
}

func TestNothingIsPublishedOfAnUnknownDatabase(t *testing.T) {
	is := Slices(service(kube.IPv4), writer(), nil)[0]
	w := writer()
	w.SystemID = ""
	if got, reason := Compare(is, Slices(service(kube.IPv4), w, nil)[0]); got != Refuse {
		t.Errorf("got %d (%s), want %d", got, reason, Refuse)
	}
}

func TestMarksChangeOnlyWhatDiffers(t *testing.T) {
	o := kube.Object{Labels: map[string]string{LabelRole: "replica", LabelLeader: "true", "user": "x"}}
	m, changed := Marks(o, map[string]string{LabelRole: "primary", LabelLeader: ""}, map[string]string{AnnotationMember: "pvc"})
	primary, pvc := "primary", "pvc"
	want := kube.Marks{Labels: map[string]*string{LabelRole: &primary, LabelLeader: nil}, Annotations: map[string]*string{AnnotationMember: &pvc}}
	if !changed || !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v", m)
	}
	o = kube.Object{Labels: map[string]string{LabelRole: "primary"}, Annotations: map[string]string{AnnotationMember: "pvc"}}
	if m, changed := Marks(o, map[string]string{LabelRole: "primary", LabelLeader: ""}, map[string]string{AnnotationMember: "pvc"}); changed {
		t.Errorf("nothing differs: got %+v", m)
	}
}

func TestClaimsOnlyGrow(t *testing.T) {
	noted := kube.Claim{Object: kube.Object{Annotations: map[string]string{AnnotationSystemID: "7", AnnotationEpoch: "1.5", AnnotationTimeline: "6"}}}
	for name, c := range map[string]struct {
		claim    kube.Claim
		id       string
		local    uint64
		timeline uint32
		want     [3]string
	}{
		"first_note":          {kube.Claim{}, "7", 1, 1, [3]string{"7", "1.1", "1"}},
		"later_epoch":         {noted, "7", 6, 7, [3]string{"7", "1.6", "7"}},
		"set_back":            {noted, "7", 2, 2, [3]string{"7", "1.5", "6"}},
		"another_database":    {noted, "8", 1, 1, [3]string{"8", "1.1", "1"}},
		"unreadable_is_older": {kube.Claim{Object: kube.Object{Annotations: map[string]string{AnnotationSystemID: "7", AnnotationEpoch: "x", AnnotationTimeline: "y"}}}, "7", 2, 3, [3]string{"7", "1.2", "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := Raised(c.claim, c.id, epoch.Epoch{Site: 1, Local: c.local}, c.timeline)
			if got := [3]string{m[AnnotationSystemID], m[AnnotationEpoch], m[AnnotationTimeline]}; got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
