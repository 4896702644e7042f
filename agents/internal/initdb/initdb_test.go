package initdb

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

func TestArguments(t *testing.T) {
	for name, tc := range map[string]struct {
		major int
		s     settings.Initdb
		want  []string
		not   []string
	}{
		"default_15":                {15, settings.Initdb{}, []string{"--encoding=UTF8", "--locale-provider=libc", "--locale=C.UTF-8", "--data-checksums"}, nil},
		"default_17":                {17, settings.Initdb{}, []string{"--locale-provider=builtin", "--locale=C.UTF-8", "--data-checksums"}, nil},
		"own_locale_is_libcs":       {17, settings.Initdb{Locale: "de_DE.UTF-8"}, []string{"--locale-provider=libc", "--locale=de_DE.UTF-8"}, nil},
		"icu_by_its_locale":         {17, settings.Initdb{ICULocale: "de"}, []string{"--locale-provider=icu", "--icu-locale=de"}, nil},
		"provider_given":            {17, settings.Initdb{LocaleProvider: "libc"}, []string{"--locale-provider=libc"}, nil},
		"no_checksums_before_18":    {17, settings.Initdb{NoChecksums: true}, nil, []string{"--data-checksums", "--no-data-checksums"}},
		"no_checksums_from_18":      {18, settings.Initdb{NoChecksums: true}, []string{"--no-data-checksums"}, []string{"--data-checksums"}},
		"segment_size":              {17, settings.Initdb{WALSegmentMB: 64}, []string{"--wal-segsize=64"}, nil},
		"nobody_logs_in_by_its_hba": {17, settings.Initdb{}, []string{"--auth=reject", "--username=postgres"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := args("/d", tc.s, tc.major)
			for _, want := range tc.want {
				if !slices.Contains(got, want) {
					t.Errorf("%s is not in %v", want, got)
				}
			}
			for _, not := range tc.not {
				if slices.Contains(got, not) {
					t.Errorf("%s is in %v", not, got)
				}
			}
		})
	}
}

// Each way to make a database is one that every major version takes.
func TestArgumentsAreUnderstood(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		root := pgtest.OpenRoot(t, major)
		for _, s := range []settings.Initdb{{}, {ICULocale: "und", NoChecksums: true, WALSegmentMB: 1}} {
			target := root.TempDir(t) + "/pgdata"
			if _, err := root.Run(pgtest.Command{Path: "initdb", Args: append(args(target, s, major), "--no-sync")}); err != nil {
				t.Errorf("PostgreSQL %d, %+v: %v", major, s, err)
			}
		}
	}
}

func TestComplaintIsPickedOutOfTheNoise(t *testing.T) {
	out := "The files belonging to this database system will be owned by user \"postgres\".\ncreating directory /d ... initdb: error: could not create directory \"/d\": Permission denied\ninitdb: hint: see elsewhere\n"
	got := complaint(out)
	if !strings.Contains(got, "Permission denied") || !strings.Contains(got, "see elsewhere") || strings.Contains(got, "will be owned") {
		t.Errorf("got %q", got)
	}
	if got := complaint("killed\n"); got != "killed" {
		t.Errorf("got %q", got)
	}
}
