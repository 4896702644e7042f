package fault

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/lab/topology"
)

func TestParse(t *testing.T) {
	cases := map[string]struct {
		oneWay bool
		want   Fault
	}{
		"cut site a":          {want: Fault{Kind: CutSite, Target: "a"}},
		"cut a b":             {want: Fault{Kind: CutSites, Target: "a", Other: "b"}},
		"cut b a":             {oneWay: true, want: Fault{Kind: CutSites, Target: "b", Other: "a", OneWay: true}},
		"cut node a2":         {want: Fault{Kind: CutNode, Target: "a2"}},
		"cut api a2":          {want: Fault{Kind: CutAPI, Target: "a2"}},
		"cut peers a2":        {want: Fault{Kind: CutPeers, Target: "a2"}},
		"cut from a2":         {want: Fault{Kind: CutFrom, Target: "a2"}},
		"cut to a2":           {want: Fault{Kind: CutTo, Target: "a2"}},
		"kill node a2":        {want: Fault{Kind: KillNode, Target: "a2"}},
		"freeze node a2":      {want: Fault{Kind: FreezeNode, Target: "a2"}},
		"stop api a":          {want: Fault{Kind: StopAPI, Target: "a"}},
		"bandwidth a b 1gbit": {want: Fault{Kind: Bandwidth, Target: "a", Other: "b", Path: Path{Bits: 1e9}}},
		"delay a b 20ms":      {want: Fault{Kind: Delay, Target: "a", Other: "b", Path: Path{Delay: 20 * time.Millisecond}}},
		"delay a b 20ms±2ms loss 0.5%": {want: Fault{Kind: Delay, Target: "a", Other: "b",
			Path: Path{Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.005}}},
		"fill a/default/data-0 100%": {want: Fault{Kind: Fill, Target: "a/default/data-0", Percent: 100}},
		"slow data-0 20iops":         {want: Fault{Kind: Slow, Target: "data-0", Limit: "20iops"}},
		"hang data-0":                {want: Fault{Kind: Hang, Target: "data-0"}},
	}
	for text, c := range cases {
		t.Run(text, func(t *testing.T) {
			got, err := Parse(strings.Fields(text), c.oneWay)
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, c.want)
			}
			written := got.String()
			if c.oneWay {
				written = strings.Replace(written, " --one-way", "", 1)
			}
			again, err := Parse(strings.Fields(written), c.oneWay)
			if err != nil || again != got {
				t.Errorf("written as %q it reads as %+v, %v", got, again, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "name a fault",
		"explode node a2":               `no fault "explode"`,
		"cut a":                         `"cut" takes 2 more words, not 1`,
		"kill site a":                   `there is no "kill site"`,
		"stop node a":                   `there is no "stop node"`,
		"bandwidth a b fast":            "100mbit",
		"bandwidth a b 0mbit":           "100mbit",
		"bandwidth a b -1mbit":          "100mbit",
		"delay a b":                     "delay SITE SITE",
		"delay a b 20":                  `"20": write a time`,
		"delay a b 1h":                  "up to 10s",
		"delay a b 2ms±20ms":            "before it was sent",
		"delay a b 20ms loss 5":         "share of lost packets",
		"delay a b 20ms loss 101%":      "share of lost packets",
		"delay a b 20ms gain 5%":        "delay SITE SITE",
		"fill data-0 full":              "1% to 100%",
		"fill data-0 0%":                "1% to 100%",
		"fill data-0 90":                "1% to 100%",
		"cut --one-way of a node":       `takes 2 more words`,
		"hang data-0 and another thing": `"hang" takes 1 more words, not 4`,
	} {
		t.Run(text, func(t *testing.T) {
			got, err := Parse(strings.Fields(text), false)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %+v, %v, want an error with %q", got, err, want)
			}
		})
	}
	if _, err := Parse([]string{"cut", "node", "a1"}, true); err == nil {
		t.Error("a one-way cut of a node was taken")
	}
}

func lab(t *testing.T) topology.Lab {
	t.Helper()
	l, err := topology.New([]string{"a", "b", "c"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCheckRefusesWhatTheLabHasNot(t *testing.T) {
	for text, want := range map[string]string{
		"cut site z":            `no site "z"`,
		"cut node a9":           `no node "a9"`,
		"cut node a-cp":         "control plane",
		"cut a a":               "two different sites",
		"cut a z":               `no site "z"`,
		"delay z a 1ms":         `no site "z"`,
		"stop api a1":           `no site "a1"`,
		"kill node b":           `no node "b"`,
		"bandwidth a a 1mbit":   "two different sites",
		"freeze node c-cp":      "control plane",
		"cut api a3":            `no node "a3"`,
		"cut site a1":           `no site "a1"`,
		"bandwidth a z 1mbit":   `no site "z"`,
		"delay a z 1ms loss 1%": `no site "z"`,
	} {
		t.Run(text, func(t *testing.T) {
			f, err := Parse(strings.Fields(text), false)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Check(lab(t)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
}

func parsed(t *testing.T, lines ...string) []Fault {
	t.Helper()
	var list []Fault
	for _, line := range lines {
		words := strings.Fields(line)
		oneWay := words[0] == "one-way"
		if oneWay {
			words = words[1:]
		}
		f, err := Parse(words, oneWay)
		if err != nil {
			t.Fatal(err)
		}
		list = Add(list, f)
	}
	return list
}

func TestAddReplacesTheSameFault(t *testing.T) {
	for name, c := range map[string]struct{ lines, want []string }{
		"stronger_delay":              {[]string{"delay a b 1ms", "delay a b 5ms"}, []string{"delay a b 5ms"}},
		"same_pair_the_other_way":     {[]string{"bandwidth a b 1mbit", "bandwidth b a 2mbit"}, []string{"bandwidth b a 2mbit"}},
		"delay_and_bandwidth_differ":  {[]string{"bandwidth a b 1mbit", "delay a b 1ms"}, []string{"bandwidth a b 1mbit", "delay a b 1ms"}},
		"one_way_cuts_are_directed":   {[]string{"one-way cut a b", "one-way cut b a"}, []string{"cut --one-way a b", "cut --one-way b a"}},
		"one_way_and_full_cut_differ": {[]string{"one-way cut a b", "cut a b"}, []string{"cut --one-way a b", "cut a b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range parsed(t, c.lines...) {
				got = append(got, f.String())
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPathsOf(t *testing.T) {
	got := PathsOf(lab(t), parsed(t, "delay b a 20ms±2ms", "bandwidth a b 10mbit", "bandwidth c b 1gbit", "cut a c"))
	want := map[[2]string]Path{
		{"a", "b"}: {Bits: 10e6, Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond},
		{"b", "c"}: {Bits: 1e9},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
