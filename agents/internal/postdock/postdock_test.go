package postdock

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/kelseyhightower/envconfig"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

func TestConfigs(t *testing.T) {
	for name, tc := range map[string]struct {
		text, delimiter, assignment string
		want                        map[string]string
		problem                     string
	}{
		"nothing":                        {"", "", "", map[string]string{}, ""},
		"one":                            {"work_mem:8MB", "", "", map[string]string{"work_mem": "8MB"}, ""},
		"blanks_and_newlines":            {" work_mem : 8MB ,\n  Max_Connections:50 , ", "", "", map[string]string{"work_mem": "8MB", "max_connections": "50"}, ""},
		"value_with_the_assignment":      {"log_line_prefix:%m: %p", "", "", map[string]string{"log_line_prefix": "%m: %p"}, ""},
		"quoted_list_is_one_value":       {"a:'x,y,z',b:1", "", "", map[string]string{"a": "x,y,z", "b": "1"}, ""},
		"double_quotes":                  {`a:"x, y",b:"it's"`, "", "", map[string]string{"a": "x, y", "b": "it's"}, ""},
		"doubled_quote_is_one":           {`a:'it''s, so',b:''`, "", "", map[string]string{"a": "it's, so", "b": ""}, ""},
		"only_doubled_quotes":            {`a:''''`, "", "", map[string]string{"a": "'"}, ""},
		"apostrophe_inside_a_bare_value": {"a:it's,b:2", "", "", map[string]string{"a": "it's", "b": "2"}, ""},
		"empty_value":                    {"a:,b:2", "", "", map[string]string{"a": "", "b": "2"}, ""},
		"other_delimiter":                {"a:x,y;b:2", ";", "", map[string]string{"a": "x,y", "b": "2"}, ""},
		"other_assignment":               {"a=x:y,b=2", "", "=", map[string]string{"a": "x:y", "b": "2"}, ""},
		"both_of_more_letters":           {"a==x,y||b==2", "||", "==", map[string]string{"a": "x,y", "b": "2"}, ""},
		"delimiters_in_a_row":            {",,a:1,,", "", "", map[string]string{"a": "1"}, ""},
		"no_assignment":                  {"a:1,oops,b:2", "", "", nil, `"oops"`},
		"no_assignment_at_the_end":       {"a:1,oops", "", "", nil, `"oops"`},
		"no_name":                        {":1", "", "", nil, `want name:value`},
		"twice":                          {"a:1,A:2", "", "", nil, "sets a twice"},
		"quote_not_closed":               {"a:'x,b:2", "", "", nil, "not closed"},
		"something_behind_the_quote":     {"a:'x'y,b:2", "", "", nil, `"y" stands behind`},
		"symbols_are_the_same":           {"a:1", ":", ":", nil, "both"},
		"symbol_is_a_quote":              {"a:1", "'", ":", nil, "cannot hold quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseConfigs(tc.text, tc.delimiter, tc.assignment)
			if tc.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tc.problem) {
					t.Errorf("got %v %v, want a problem with %s", got, err, tc.problem)
				}
				return
			}
			if err != nil || !maps.Equal(got, tc.want) {
				t.Errorf("got %q %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestOverlayAndItsSentences(t *testing.T) {
	for name, value := range map[string]string{
		"CONFIGS": "work_mem:8MB;shared_preload_libraries:'a, b';listen_addresses:'localhost';wal_keep_segments:500;max_connections:77", "CONFIGS_DELIMITER_SYMBOL": ";",
		"POSTGRES_PASSWORD": "hunter2", "DB_USERS": "app:s3cret", "REPLICATION_PASSWORD": "replication_pass", "NODE_PRIORITY": "50", "SSH_ENABLE": "1", "PARTNER_NODES": "a,b",
	} {
		t.Setenv(name, value)
	}
	var e Env
	if err := envconfig.Process("", &e); err != nil {
		t.Fatal(err)
	}
	chart := settings.Settings{Release: "db", PostgreSQL: settings.PostgreSQL{Parameters: map[string]string{"Max_Connections": "50"}}}
	out, notes, problems := e.Overlay(chart)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if want := map[string]string{"work_mem": "8MB", "max_connections": "50"}; !maps.Equal(out.PostgreSQL.Parameters, want) {
		t.Errorf("got %v, want %v", out.PostgreSQL.Parameters, want)
	}
	if got := strings.Join(out.PostgreSQL.SharedPreloadLibraries, "+"); got != "a+b" {
		t.Errorf("libraries: %s", got)
	}
	text := strings.Join(notes, "\n")
	for _, want := range []string{
		"CONFIGS, max_connections: postgresql.parameters sets it too", "CONFIGS, listen_addresses has no effect", "CONFIGS, wal_keep_segments has no effect: it is gone",
		"POSTGRES_PASSWORD has no effect: passwords come from Secrets", "DB_USERS has no effect", "REPLICATION_PASSWORD has no effect: replication logs in by client certificate",
		"NODE_PRIORITY has no effect", "SSH_ENABLE has no effect", "PARTNER_NODES has no effect",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no sentence %q in\n%s", want, text)
		}
	}
	if len(notes) != 9 {
		t.Errorf("got %d sentences, want 9:\n%s", len(notes), text)
	}
	for _, secret := range []string{"hunter2", "s3cret", "replication_pass"} {
		if strings.Contains(text+fmt.Sprintf("%v %+v %#v", e, e, e), secret) {
			t.Errorf("%s can be read", secret)
		}
	}
	if len(chart.PostgreSQL.Parameters) != 1 {
		t.Error("the chart's own settings were changed")
	}
}

func TestNoVariablesChangeNothing(t *testing.T) {
	out, notes, problems := Env{}.Overlay(settings.Settings{Release: "db"})
	if out.PostgreSQL.Parameters != nil || len(notes)+len(problems) > 0 {
		t.Errorf("got %+v %v %v", out, notes, problems)
	}
}

func TestNodeID(t *testing.T) {
	for name, tc := range map[string]struct {
		id, name string
		want     int
	}{
		"number_behind_the_last_hyphen": {"", "my-db-node-2", 1002},
		"first_pod_of_a_set":            {"", "db-replica-0", 1000},
		"given":                         {"17", "db-0", 17},
		"given_and_no_number":           {"x", "db-0", 0},
		"name_without_a_number":         {"", "pgmaster", 0},
		"no_name":                       {"", "", 0},
		"zero_is_none":                  {"0", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Env{NodeID: tc.id, NodeName: tc.name}.ID()
			if got != tc.want || (err == nil) != (tc.want != 0) {
				t.Errorf("got %d %v, want %d", got, err, tc.want)
			}
		})
	}
}

func TestReplicaOfTheNamedPrimary(t *testing.T) {
	me := grant.Incarnation{Pod: "p", Boot: "b"}
	g, problems := Env{NodeName: "db-node-3", ReplicationHost: "10.0.0.7", ReplicationPort: "5433"}.Replica(me)
	if len(problems) > 0 || g.Validate() != nil || g.Upstream.Host != "10.0.0.7" || g.Upstream.Address != "10.0.0.7" || g.Upstream.Port != 5433 ||
		g.Holder.Member != "node-1003" || !g.MayClone || g.Role != grant.Replica {
		t.Errorf("got %+v %v %v", g, g.Upstream, problems)
	}
	for name, tc := range map[string]struct {
		e    Env
		want string
	}{
		"nobody_named":             {Env{NodeName: "n-1"}, "can only be a replica"},
		"only_partners":            {Env{NodeName: "n-1", PartnerNodes: "n-1,n-2"}, "nobody asks PARTNER_NODES"},
		"itself":                   {Env{NodeName: "n-1", ReplicationPrimaryHost: "n-1"}, "cannot be primary"},
		"itself_by_its_address":    {Env{NodeName: "n-1", ClusterNodeNetworkName: "10.0.0.1", ReplicationPrimaryHost: "10.0.0.1"}, "cannot be primary"},
		"port_that_is_none":        {Env{NodeName: "n-1", ReplicationPrimaryHost: "n-2", ReplicationPrimaryPort: "http"}, "REPLICATION_PRIMARY_PORT"},
		"node_without_an_identity": {Env{NodeName: "db", ReplicationPrimaryHost: "n-2"}, "NODE_ID"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := tc.e.Replica(me)
			if !strings.Contains(strings.Join(problems, "\n"), tc.want) {
				t.Errorf("got %v, want %s", problems, tc.want)
			}
		})
	}
}

func TestSettingsForAPodWithoutTheChart(t *testing.T) {
	for name, want := range map[string]string{"": "pg-cluster", "My_Cluster": "my-cluster", "__": "pg-cluster"} {
		if got := (Env{ClusterName: name}).Settings(); got.Release != want || got.Port != 5432 {
			t.Errorf("%q: got %+v, want %s", name, got, want)
		}
	}
}
