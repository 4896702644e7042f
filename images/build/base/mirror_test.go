package base

import (
	"slices"
	"strings"
	"testing"
)

func TestParseMirrors(t *testing.T) {
	tests := []struct {
		name, targets string
		want          MirrorSet
	}{
		{"no_sources_at_all", "", MirrorSet{Main: standard}},
		{"other_vendors_are_not_debian", "Google LLC|cloud|https://packages.example/apt/", MirrorSet{Main: standard}},
		{
			"debians_own",
			"Debian|Debian|http://deb.debian.org/debian/\nDebian|Debian-Security|http://deb.debian.org/debian-security/",
			MirrorSet{Main: standard, Security: "http://deb.debian.org/debian-security"},
		},
		{
			"first_of_each_kind_wins",
			"x|y|http://z/\nDebian|Debian|https://mirror.example/debian/\nDebian|Debian|http://second.example/\n" +
				"Debian|Debian-Security|https://mirror.example/sec\n",
			MirrorSet{Main: "https://mirror.example/debian", Security: "https://mirror.example/sec"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseMirrors(tt.targets); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestBootstrapArgs(t *testing.T) {
	own := MirrorSet{Main: "https://mirror.example/debian", Security: "https://mirror.example/sec"}
	tests := []struct {
		name    string
		suite   string
		mirrors MirrorSet
		tail    []string
		expired bool
		certs   bool
	}{
		{"debians_own_mirror_is_left_to_mmdebstrap", "trixie", MirrorSet{Main: standard}, []string{"trixie", "x.tar"}, false, false},
		{"unreleased_suite_may_be_past_its_date", "forky", MirrorSet{Main: standard}, []string{"forky", "x.tar"}, true, false},
		{
			"own_mirror_with_security", "trixie", own,
			[]string{
				"trixie", "x.tar", "deb https://mirror.example/debian trixie main", "deb https://mirror.example/debian trixie-updates main",
				"deb https://mirror.example/sec trixie-security main",
			}, false, true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := bootstrapArgs(tt.suite, "x.tar", tt.mirrors)
			if got := args[len(args)-len(tt.tail):]; !slices.Equal(got, tt.tail) {
				t.Errorf("last arguments: got %q, want %q", got, tt.tail)
			}
			all := strings.Join(args, " ")
			if got := strings.Contains(all, "Check-Valid-Until"); got != tt.expired {
				t.Errorf("dates unchecked: got %v, want %v", got, tt.expired)
			}
			if got := slices.Contains(args, "--include=ca-certificates"); got != tt.certs {
				t.Errorf("certificates for apt: got %v, want %v", got, tt.certs)
			}
		})
	}
}
