package pgconf

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func input() Input {
	return Input{
		Major: 17,
		Settings: settings.Settings{
			Release: "db", Port: 5432, Major: 17, Members: settings.Members{Primary: 1, Replicas: 2},
			PostgreSQL: settings.PostgreSQL{
				Parameters:             map[string]string{"Work_Mem": "16MB", "log_line_prefix": `it's 100%\ `, "auto_explain.log_min_duration": "1s"},
				HBA:                    []string{"hostssl app reporting 10.0.0.0/8 scram-sha-256"},
				Ident:                  []string{"people alice app"},
				SharedPreloadLibraries: []string{"pg_stat_statements", "auto_explain"},
			},
		},
		Data: "/var/lib/pgspan/pgdata", Conf: "/pgspan/conf", Keys: "/pgspan/keys", Socket: "/pgspan/socket", Bin: "/pgspan/bin",
		MemoryLimit: 1 << 30, VolumeSize: 10 << 30, WALSegment: 16 << 20,
		From: &grant.Upstream{Member: "pvc-1", Name: "db-primary-0", Host: "db-primary-0.db-members.ns.svc.cluster.local", Address: "10.1.2.3", Port: 5432},
		Slot: "pgspan_ab12", SyncName: "ab12",
	}
}

// The bytes are locked because a changed byte is a changed hash and a reload on every member; a changed command line is a restart.
func TestGolden(t *testing.T) {
	for name, change := range map[string]func(*Input){
		"17":              func(*Input) {},
		"15_bare":         func(in *Input) { *in = bare(15) },
		"18_superuserTCP": func(in *Input) { in.Major = 18; in.Settings.SuperuserTCP = true },
	} {
		t.Run(name, func(t *testing.T) {
			in := input()
			change(&in)
			out, problems := Render(in)
			if len(problems) > 0 {
				t.Fatalf("refused: %v", problems)
			}
			got := map[string][]byte{"command_line": []byte(strings.Join(out.CommandLine, "\n") + "\n")}
			for file, content := range out.Files {
				got[file] = content
			}
			for file, content := range got {
				path := filepath.Join("testdata", name, file)
				if *update {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, content, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(content, want) {
					t.Errorf("%s differs from %s; run with -update and read the diff\ngot:\n%s", file, path, content)
				}
			}
		})
	}
}

// bare is a release with nothing set, on a machine of unknown size.
func bare(major int) Input {
	return Input{
		Major: major, Settings: settings.Settings{Release: "db", Port: 5432, Members: settings.Members{Primary: 1}},
		Data: "/v/pgdata", Conf: "/c", Keys: "/k", Socket: "/s", Bin: "/b",
	}
}

func TestEqualInputGivesEqualBytes(t *testing.T) {
	first, _ := Render(input())
	for range 50 {
		again, _ := Render(input())
		for name := range first.Files {
			if !bytes.Equal(first.Files[name], again.Files[name]) {
				t.Fatalf("%s differs between two renderings", name)
			}
		}
		if !slices.Equal(first.CommandLine, again.CommandLine) {
			t.Fatal("the command line differs between two renderings")
		}
	}
}

func TestWhatHighAvailabilityNeedsCannotBeOverridden(t *testing.T) {
	in := input()
	names := []string{"Wal_Level"}
	for name := range fixedSettings(in) {
		names = append(names, name)
	}
	for name := range elsewhere {
		names = append(names, name)
	}
	for _, name := range names {
		in.Settings.PostgreSQL.Parameters = map[string]string{name: "x"}
		_, problems := Render(in)
		if len(problems) != 1 || !strings.Contains(problems[0], "postgresql.parameters."+name+" cannot be set: ") {
			t.Errorf("%s: got %v", name, problems)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*settings.PostgreSQL)
		want   string
	}{
		"name_with_a_newline":         {func(p *settings.PostgreSQL) { p.Parameters = map[string]string{"work_mem\nfsync": "off"} }, "not the name of a setting"},
		"name_that_is_a_directive":    {func(p *settings.PostgreSQL) { p.Parameters = map[string]string{"include_dir": "/x"} }, "cannot be set"},
		"same_name_twice":             {func(p *settings.PostgreSQL) { p.Parameters = map[string]string{"work_mem": "1MB", "WORK_MEM": "2MB"} }, "twice"},
		"zero_byte":                   {func(p *settings.PostgreSQL) { p.Parameters = map[string]string{"work_mem": "1\x00"} }, "zero byte"},
		"too_few_senders":             {func(p *settings.PostgreSQL) { p.Parameters = map[string]string{"max_wal_senders": "8"} }, "at least 9"},
		"slots_are_no_number":         {func(p *settings.PostgreSQL) { p.Parameters = map[string]string{"max_replication_slots": "many"} }, "at least 9"},
		"slots_may_fill_the_disk":     {func(p *settings.PostgreSQL) { p.Parameters = map[string]string{"max_slot_wal_keep_size": "-1"} }, "must have a limit"},
		"old_TLS":                     {func(p *settings.PostgreSQL) { p.Parameters = map[string]string{"ssl_min_protocol_version": "TLSv1"} }, "TLSv1.2 or"},
		"library_with_a_quote":        {func(p *settings.PostgreSQL) { p.SharedPreloadLibraries = []string{"a,'b"} }, "not the name of a library"},
		"hba_trust":                   {func(p *settings.PostgreSQL) { p.HBA = []string{"host all all 10.0.0.1 255.0.0.0 trust"} }, "uses trust"},
		"hba_local_trust":             {func(p *settings.PostgreSQL) { p.HBA = []string{`local all "a b" trust`} }, "uses trust"},
		"hba_include":                 {func(p *settings.PostgreSQL) { p.HBA = []string{"include /tmp/x"} }, "want one of local"},
		"hba_quoted_trust":            {func(p *settings.PostgreSQL) { p.HBA = []string{`host all all 0.0.0.0/0 "trust"`} }, "uses trust"},
		"hba_mistyped_method":         {func(p *settings.PostgreSQL) { p.HBA = []string{"hostssl all all 10.0.0.0/8 scram-sha256"} }, "has the method scram-sha256: want one of"},
		"hba_mask_without_a_method":   {func(p *settings.PostgreSQL) { p.HBA = []string{"host all all 10.0.0.1 255.0.0.0"} }, "needs 6"},
		"hba_address_without_a_mask":  {func(p *settings.PostgreSQL) { p.HBA = []string{"host all all 10.0.0.1 md5"} }, "needs 6"},
		"hba_two_lines":               {func(p *settings.PostgreSQL) { p.HBA = []string{"host a b c md5\nhost all all all trust"} }, "more than one line"},
		"hba_without_a_method":        {func(p *settings.PostgreSQL) { p.HBA = []string{"host all all all"} }, "has 4 fields and needs 5"},
		"ident_adds_to_our_map":       {func(p *settings.PostgreSQL) { p.Ident = []string{"pgspan_rewind /.* postgres"} }, "names that begin with pgspan"},
		"ident_adds_to_our_map_again": {func(p *settings.PostgreSQL) { p.Ident = []string{`"pgspan_rewind" /.* postgres`} }, "names that begin with pgspan"},
		"ident_is_no_map":             {func(p *settings.PostgreSQL) { p.Ident = []string{"a b"} }, "is not a map"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input()
			tc.change(&in.Settings.PostgreSQL)
			out, problems := Render(in)
			if len(problems) != 1 || !strings.Contains(problems[0], tc.want) || out.Files != nil {
				t.Errorf("got %v and %d files, want one problem with %q", problems, len(out.Files), tc.want)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	in := input()
	in.Settings.PostgreSQL.Parameters = map[string]string{"fsync": "off", "wal_level": "minimal"}
	in.Settings.PostgreSQL.HBA = []string{"host all all all trust"}
	if _, problems := Render(in); len(problems) != 3 {
		t.Errorf("got %d problems, want 3: %v", len(problems), problems)
	}
}

func TestUserMayOverrideDefaults(t *testing.T) {
	in := input()
	in.Settings.PostgreSQL.Parameters = map[string]string{"shared_buffers": "99MB", "max_slot_wal_keep_size": "7GB", "max_wal_senders": "9"}
	out, problems := Render(in)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, want := range []string{"shared_buffers = '99MB'\n", "max_slot_wal_keep_size = '7GB'\n", "max_wal_senders = '9'\n"} {
		if !strings.Contains(string(out.Files[Main]), want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// PostDock #115: max_connections lower on the standby than on the primary.
func TestStandbyIsRaisedToWhatThePrimaryHas(t *testing.T) {
	in := input()
	in.Settings.PostgreSQL.Parameters = map[string]string{"max_connections": "50", "max_locks_per_transaction": "200"}
	in.Floor = map[string]int{"max_connections": 80, "max_worker_processes": 8, "max_locks_per_transaction": 64, "max_wal_senders": 500}
	out, problems := Render(in)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	conf := string(out.Files[Main])
	for want, there := range map[string]bool{
		"max_connections = '80'": true, "max_locks_per_transaction = '200'": true, "max_wal_senders = '500'": true, "max_worker_processes": false,
	} {
		if strings.Contains(conf, want) != there {
			t.Errorf("%q in the file: got %v, want %v", want, !there, there)
		}
	}
	if got := strings.Join(out.Raised, " "); got != "max_connections max_wal_senders" {
		t.Errorf("raised: %s", got)
	}
	if len(out.Notes) != 2 || !strings.Contains(out.Notes[0], "max_connections is 80 here instead of 50") {
		t.Errorf("notes: %v", out.Notes)
	}
}

func TestUpstreamIsOneServerOrNobody(t *testing.T) {
	in := input()
	in.From.Host = `o'dd \host`
	out, _ := Render(in)
	conf := string(out.Files[Upstream])
	for _, want := range []string{`host=''o\\''dd \\\\host''`, "hostaddr=10.1.2.3", "sslmode=verify-full", "application_name=ab12", "tcp_user_timeout=5000", "primary_slot_name = 'pgspan_ab12'"} {
		if !strings.Contains(conf, want) {
			t.Errorf("%s is not in\n%s", want, conf)
		}
	}
	in.From = nil
	out, _ = Render(in)
	if voting, _ := Render(func() Input { v := in; v.Vote = true; return v }()); !strings.HasSuffix(string(voting.Files[Upstream]), "\nmax_standby_archive_delay = 0\nmax_standby_streaming_delay = 0\n") {
		t.Errorf("an election waits for readers: got %s", voting.Files[Upstream])
	}
	if got, want := string(out.Files[Upstream]), "primary_conninfo = ''\nprimary_slot_name = ''\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want it to end with %s", got, want)
	}
}

func TestStaleSettingsOfAlterSystemAreRemoved(t *testing.T) {
	text := "# Do not edit\nwork_mem = '4MB'\nprimary_conninfo = 'host=old'\nFsync='off'\nrestore_command\t= 'x'\nsynchronous_standby_names = 'ANY 1 (a)'\nprimary_conninfo = 'host=older'\n"
	clean, removed := CleanAuto(text, input())
	if want := "# Do not edit\nwork_mem = '4MB'\n"; clean != want {
		t.Errorf("got %q, want %q", clean, want)
	}
	if got := strings.Join(removed, " "); got != "fsync primary_conninfo restore_command synchronous_standby_names" {
		t.Errorf("removed: %s", got)
	}
}

// What we quote is what the server reads, on every major version.
func TestServerReadsTheValuesThatWereMeant(t *testing.T) {
	values := map[string]string{
		"quote": `it's`, "backslash": `a\b\\c`, "newline": "two\nlines", "tab": "a\tb", "hash": "a # b", "percent": "%m [%p] ", "backslash_at_the_end": `x\`, "umlaut": "ö",
	}
	for _, major := range pgtest.Majors(t) {
		s := pgtest.New(t, major)
		conf := s.TempDir(t)
		for name, value := range values {
			in := input()
			in.Major, in.Conf, in.Data = major, conf, s.PGDATA()
			in.Settings.PostgreSQL.Parameters = map[string]string{"pgspan_test.value": value}
			in.Settings.PostgreSQL.SharedPreloadLibraries = nil
			out, problems := Render(in)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			for file, content := range out.Files {
				s.WriteFile(t, conf+"/"+file, content, 0o600)
			}
			got, err := s.Run(pgtest.Command{Path: "postgres", Args: append(out.CommandLine, "-C", "pgspan_test.value")})
			if err != nil {
				t.Fatalf("PostgreSQL %d, %s: %v", major, name, err)
			}
			if got != value+"\n" {
				t.Errorf("PostgreSQL %d, %s: the server reads %q, want %q", major, name, got, value)
			}
		}
	}
}

func TestEveryDefaultIsKnownToEveryMajor(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		s := pgtest.New(t, major)
		conf := s.TempDir(t)
		in := input()
		in.Major, in.Conf, in.Data = major, conf, s.PGDATA()
		in.Settings.PostgreSQL = settings.PostgreSQL{}
		out, problems := Render(in)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for file, content := range out.Files {
			s.WriteFile(t, conf+"/"+file, content, 0o600)
		}
		for name, want := range map[string]string{
			"shared_buffers": fmt.Sprint((256 << 20) / 8192), "wal_level": "logical", "primary_slot_name": "pgspan_ab12", "max_wal_senders": "48",
		} {
			got, err := s.Run(pgtest.Command{Path: "postgres", Args: append(slices.Clone(out.CommandLine), "-C", name)})
			if err != nil || strings.TrimSpace(got) != want && got != "256MB\n" {
				t.Errorf("PostgreSQL %d: %s is %q %v, want %s", major, name, got, err, want)
			}
		}
	}
}

// SAFETY rule 11: a server of synchronous mode acknowledges nothing until it was told by whose word.
func TestWhomCommitsWaitFor(t *testing.T) {
	for name, c := range map[string]struct {
		mode string
		said *grant.Sync
		want string
	}{
		"asynchronous":                          {"", nil, "''"},
		"off":                                   {"off", nil, "''"},
		"nobody_has_said_so_in_any_mode":        {"any", nil, "'ANY 1 (pgspan_nobody)'"},
		"nobody_has_said_so_in_strict_mode":     {"strict", nil, "'ANY 1 (pgspan_nobody)'"},
		"the_grant_counts_and_not_the_settings": {"any", &grant.Sync{}, "''"},
		"turned_off_and_not_told_yet":           {"", &grant.Sync{K: 1, Members: []string{"b"}}, `'ANY 1 ("pgspan_b")'`},
		"told":                                  {"any", &grant.Sync{K: 2, Members: []string{"0a-B", "c"}}, `'ANY 2 ("pgspan_0a_b", "pgspan_c")'`},
		"too_few_is_nobody":                     {"any", &grant.Sync{K: 2, Members: []string{"b"}}, "'ANY 1 (pgspan_nobody)'"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input()
			in.Settings.Synchronous.Mode, in.Sync = c.mode, c.said
			out, problems := Render(in)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if got, want := string(out.Files[Waits]), "synchronous_standby_names = "+c.want+"\n"; !strings.HasSuffix(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
