package secondline

import (
	"errors"
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	gone := errors.New("no answer")
	leads := func(change func(*Facts)) Facts {
		f := Facts{Pod: "p-0", Led: true, SystemID: "7", Addresses: []string{"10.0.0.1"}, Write: Write{Tried: true, Server: "10.0.0.1"},
			Others: []Answer{{Pod: "r-0", SystemID: "7"}, {Pod: "r-1", SystemID: "7"}}}
		change(&f)
		return f
	}
	cases := map[string]struct {
		facts               Facts
		twoWriters, noWrite string
		known               bool
	}{
		"all_is_well":                 {leads(func(*Facts) {}), "", "", true},
		"another_member_writes":       {leads(func(f *Facts) { f.Others[1].Writable = true }), "p-0 leads and writes, and so does r-1", "", true},
		"its_database_was_not_told":   {leads(func(f *Facts) { f.Others[1] = Answer{Pod: "r-1", Writable: true} }), "so does r-1", "", true},
		"foreign_database_writes":     {leads(func(f *Facts) { f.Others[1] = Answer{Pod: "r-1", Writable: true, SystemID: "8"} }), "another database", "", true},
		"leader_changed_in_between":   {leads(func(f *Facts) { f.Led, f.Others[1].Writable, f.Write.Err, f.Write.Failed = false, true, gone, 3 }), "", "", false},
		"member_that_is_not_heard":    {leads(func(f *Facts) { f.Others[1].Err, f.Others[1].Writable = gone, true }), "", "", true},
		"first_write_that_fails":      {leads(func(f *Facts) { f.Write.Err = gone }), "", "", true},
		"second_write_that_fails":     {leads(func(f *Facts) { f.Write.Err, f.Write.Failed = gone, 1 }), "", "takes no writes: no answer", true},
		"service_leads_somewhere":     {leads(func(f *Facts) { f.Write.Server = "10.0.0.9" }), "led to 10.0.0.9, which took a write", "", true},
		"other_address_of_the_pod":    {leads(func(f *Facts) { f.Addresses = append(f.Addresses, "fd00::1"); f.Write.Server = "fd00::1" }), "", "", true},
		"writes_are_not_probed":       {leads(func(f *Facts) { f.Write = Write{} }), "", "", true},
		"failed_write_and_two_writer": {leads(func(f *Facts) { f.Write.Err, f.Write.Failed, f.Others[0].Writable = gone, 1, true }), "so does r-0", "takes no writes", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := Judge(c.facts)
			if got.Known != c.known || !said(got.TwoWriters, c.twoWriters) || !said(got.WriteFailed, c.noWrite) {
				t.Errorf("got %+v, want known %v, %q, %q", got, c.known, c.twoWriters, c.noWrite)
			}
		})
	}
}

func said(got, want string) bool { return (got == "") == (want == "") && strings.Contains(got, want) }
