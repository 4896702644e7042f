package charts

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestWhatCannotWorkIsRefusedWithASentence: values that fit each by itself, and the sentence that says what to write instead.
func TestWhatCannotWorkIsRefusedWithASentence(t *testing.T) {
	cases := map[string]struct{ values, want string }{
		"sites_without_site":    {"sites: {leo: {host: leo.example.com}}", `sites are listed (leo), but site does not say which one this release is: put "site: <name>"`},
		"site_without_sites":    {"site: leo", `site is "leo", but there is no list of sites: name every site once under sites`},
		"site_misspelt":         {"site: loe\nsites: {leo: {host: leo.example.com}}", `site "loe" is not in the list of sites (leo)`},
		"sites_not_finished":    {"site: a\nsites: {a: {host: a.example.com}, b: {host: b.example.com}}\ntls: {mode: secret, secret: {name: x}}", "sites lists 2 sites, but replication between sites is not built yet"},
		"site_without_host":     {"site: a\nsites: {a: {host: a.example.com}, b: {}}\ntls: {mode: secret, secret: {name: x}}", "sites.b has no host: give the address"},
		"sites_out_of_reach":    {"site: a\nsites: {a: {host: a.example.com}, b: {host: b.example.com}}\ntls: {mode: secret, secret: {name: x}}\nservice: {cross: {enabled: false}}", "no other site could reach this one"},
		"generated_two_sites":   {"site: a\nsites: {a: {host: a.example.com}, b: {host: b.example.com}}", `run "kubectl pgspan certs" with these values, apply the Secret at every site, and set tls.mode: secret`},
		"secret_without_name":   {"tls: {mode: secret}", "tls.secret.name is empty: make the Secret"},
		"secret_not_used":       {"tls: {secret: {name: mine}}", `tls.mode is "generated", which would not use it: set tls.mode: secret`},
		"own_issuer_two_sites":  {"site: a\nsites: {a: {host: a.example.com}, b: {host: b.example.com}}\ntls: {mode: certManager}", "name an issuer whose CA all sites share"},
		"leaf_outlives_ca":      {"tls: {generated: {days: 365, caDays: 30}}", "a certificate cannot outlive its CA"},
		"renewed_before_issued": {"tls: {mode: certManager, certManager: {duration: 24h, renewBefore: 24h}}", "must be shorter than tls.certManager.duration"},

		"commits_wait_for_too_many":     {"{replicas: 1, synchronous: {mode: any, number: 2}}", "commits would wait for 2 of 1 replicas"},
		"commits_wait_for_nobody_there": {"{replicas: 0, synchronous: {mode: strict}}", "commits would wait for 1 of 0 replicas"},
		"lease_fences_too_late":         {"lease: {duration: 8s, fenceAfter: 6s, stopTime: 1s}", "more than 0.8 of lease.duration (8s), so a new primary could begin before the old one is dead: raise the duration to 8750ms"},
		"lease_by_a_millisecond":        {"lease: {duration: 10s, fenceAfter: 7s, stopTime: 1001ms}", "raise the duration to 10002ms"},
		"lease_renewed_seldom":          {"lease: {duration: 60s, fenceAfter: 30s, renewEvery: 2s}", "1s is the most"},
		"lease_no_third_renewal":        {"lease: {fenceAfter: 2999ms}", "no room for two missed renewals"},
		"lease_of_no_length":            {"lease: {duration: 1999ms, fenceAfter: 1s, stopTime: 100ms, renewEvery: 100ms}", "lease.duration is 1999ms: it must be at least 2s"},
		"lease_fences_at_once":          {"lease: {fenceAfter: 999ms, renewEvery: 100ms}", "lease.fenceAfter is 999ms: it must be at least 1s"},
		"lease_stops_too_soon":          {"lease: {stopTime: 99ms}", "lease.stopTime is 99ms: it must be at least 100ms"},
		"lease_renewed_too_often":       {"lease: {renewEvery: 99ms}", "lease.renewEvery is 99ms: it must be at least 100ms"},
		"lease_stops_in_no_time":        {"lease: {stopTime: 0s}", "every time must be more than zero"},

		"nobody_may_lead":            {"failover: {neverLead: {primary: true, replica: true}}", "bars both sets, so nobody could ever lead"},
		"single_server_may_not_lead": {"{replicas: 0, failover: {neverLead: {primary: true}}}", "replicas is 0, so nobody could ever lead"},
		"election_waits_for_days":    {"failover: {electionWait: 61m}", "failover.electionWait is 61m: 1h is the most"},
		"promotion_has_no_time":      {"failover: {promoteTimeout: 23s}", "failover.promoteTimeout is 23s: within that time a slow promotion and none look the same with lease.duration 8s; it must be at least 24000ms"},
		"promotion_of_a_long_lease":  {"lease: {duration: 21s}", "with lease.duration 21s; it must be at least 63000ms"},
		"slow_server_counts_as_hung": {"failover: {hangTimeout: 9s}", "failover.hangTimeout is 9s: a server on a slow machine would count as hung; 10s is the least"},
		"recovery_for_two_days":      {"failover: {maxCrashRecovery: 1441m}", "failover.maxCrashRecovery is 1441m: 24h (1440m) is the most"},

		"version_too_old":       {"postgresql: {version: 14}", "postgresql.version is 14: 15, 16, 17 and 18 are supported"},
		"version_without_image": {"postgresql: {version: 16}", "no image of it is made (of 15, 17 and 18 there are): name one of your own"},
		"parameter_twice":       {"postgresql: {parameters: {Max_Connections: 300}}", "Max_Connections and max_connections are one setting to PostgreSQL"},
		"version_with_minor":    {"postgresql: {version: '1702'}", "give the major version only"},
		"ha_parameter":          {"postgresql: {parameters: {wal_level: replica}}", "postgresql.parameters.wal_level cannot be set: replication, pg_rewind and a change of version need what pgspan sets"},
		"ha_parameter_capitals": {"postgresql: {parameters: {Primary_ConnInfo: host=x}}", "postgresql.parameters.Primary_ConnInfo cannot be set: whom a member follows stands in the grant"},
		"fsync_off":             {"postgresql: {parameters: {fsync: false}}", "it loses data"},
		"preload_in_parameters": {"postgresql: {parameters: {shared_preload_libraries: x}}", "write the libraries under postgresql.sharedPreloadLibraries"},
		"recovery_target":       {"postgresql: {parameters: {recovery_target_timeline: '3'}}", "would never follow its primary again"},
		"slots_without_bound":   {"postgresql: {parameters: {max_slot_wal_keep_size: -1}}", "would fill the primary's disk; give a size"},
		"too_few_walsenders":    {"postgresql: {parameters: {max_wal_senders: 8}}", "3 members need 9, three each"},
		"old_tls":               {"postgresql: {parameters: {ssl_min_protocol_version: TLSv1}}", "TLSv1.2 and TLSv1.3 are safe"},
		"hba_trust":             {"postgresql: {hba: ['host all all 10.0.0.0/8 trust']}", "lets anybody in without a password: use scram-sha-256, or cert"},
		"hba_trust_in_quotes":   {"postgresql: {hba: ['host all all 10.0.0.0/8 \"trust\"']}", "lets anybody in without a password: use scram-sha-256, or cert"},
		"hba_mistyped_method":   {"postgresql: {hba: ['hostssl app app 10.0.0.0/8 scram-sha256']}", "names no method that PostgreSQL knows, and a server does not start with it"},
		"icu_without_locale":    {"postgresql: {initdb: {localeProvider: icu}}", "postgresql.initdb.icuLocale is empty: name one"},
		"icu_locale_for_libc":   {"postgresql: {initdb: {icuLocale: de-AT}}", "set it to icu"},
		"builtin_before_17":     {"postgresql: {version: 16, initdb: {localeProvider: builtin}}", "came with PostgreSQL 17: use libc with 16"},

		"owner_is_nobody":         {"databases: {quay: {owner: quay}}", `databases.quay.owner is "quay", which is not among users: add it there ("quay: {}" is enough), or leave the database out ("quay: null" under databases)`},
		"database_of_postgres":    {"databases: {template1: {owner: app}}", "databases.template1 belongs to PostgreSQL itself"},
		"user_postgres":           {"users: {postgres: {}}", "the superuser over TCP is superuser.tcp"},
		"user_of_ours":            {"users: {pgspan_replication: {}}", "the name is taken by pgspan"},
		"user_of_postgresql":      {"users: {pg_monitor: {}}", "the name is taken by PostgreSQL"},
		"user_superuser":          {"users: {app: {options: [CREATEDB, superuser]}}", "users.app.options: SUPERUSER would let an application go around"},
		"user_replication":        {"users: {app: {options: [REPLICATION]}}", "users.app.options: REPLICATION would"},
		"users_share_a_secret":    {"users: {a_b: {}, a-b: {}}", "users a-b and a_b would share the Secret demo-user-a-b"},
		"password_key_of_nothing": {"users: {app: {passwordKey: pw}}", "is given without existingSecret"},
		"user_of_no_database":     {"users: {app: {database: nowhere}}", `users.app.database is "nowhere", which is not among databases`},
		"superuser_secret_idle":   {"superuser: {existingSecret: root}", "superuser.tcp is false, so nothing would use it"},

		"shm_over_memory_limit":     {"database: {sharedMemory: 1Gi, resources: {limits: {memory: 1Gi}}}", "is not less than the memory limit (1Gi)"},
		"shm_over_limit_of_one_set": {"primary: {resources: {limits: {memory: 200Mi}}}", "is not less than the memory limit (200Mi)"},
		"buffers_over_memory_limit": {"{postgresql: {parameters: {shared_buffers: 8GB}}, database: {resources: {limits: {memory: 2Gi}}}}", "shared_buffers is 8GB, but the servers of the set primary have a memory limit of 2Gi"},
		"account_of_no_name":        {"serviceAccount: {create: false}", "serviceAccount.name is empty, so no pod could be made"},
		"root_database":             {"database: {podSecurityContext: {runAsUser: 0}}", "PostgreSQL refuses to run as root"},
		"root_pgpool":               {"pgpool: {podSecurityContext: {runAsUser: 0}}", "pgpool.podSecurityContext.runAsUser is 0"},
		"volume_of_ten_bytes":       {"persistence: {size: 10}", "persistence.size is 10, which is 10 bytes: a server needs 128Mi at the least"},
		"volume_of_many":            {"persistence: {accessModes: [ReadWriteMany]}", "two nodes that write one volume destroy it"},

		"two_families_single_stack": {"service: {ipFamilyPolicy: SingleStack, ipFamilies: [IPv4, IPv6]}", "set it to PreferDualStack, or name one"},
		"one_address_two_families":  {"service: {ipFamilies: [IPv4, IPv6], rw: {type: LoadBalancer, loadBalancerIP: 198.51.100.1}}", "service.rw.loadBalancerIP is one address"},
		"load_balancer_of_nothing":  {"service: {ro: {loadBalancerSourceRanges: [198.51.100.0/24]}}", "service.ro.loadBalancerSourceRanges is given, but service.ro.type is ClusterIP"},

		"pgpools_over_max_connections": {"replicas: 9", "pgpool may open 320 connections to one server (10 pgpools x pgpool.children 32 x pgpool.poolPerChild 1), but max_connections 200 less 3 reserved ones allows 197"},
		"cache_of_several_pgpools":     {"pgpool: {cache: {enabled: true}}", "needs pgpool.cache.memcached.host"},
		"pgpool_that_fails_over":       {"pgpool: {parameters: {failover_command: /bin/true}}", "pgpool.parameters.failover_command cannot be set"},
		"pgpool_without_tls":           {"pgpool: {parameters: {ssl: false}}", "pgpool.parameters.ssl cannot be set"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := release{values: c.values}.render(t)
			if err == nil {
				t.Fatalf("rendered, want a refusal with %q", c.want)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "<no value>") || strings.Contains(err.Error(), "nil pointer") {
				t.Errorf("not a sentence for a reader: %v", err)
			}
		})
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := release{values: "postgresql: {version: 14}\nsite: leo\nusers: {pg_x: {}}"}.render(t)
	for _, want := range []string{"postgresql.version is 14", `site is "leo"`, "users.pg_x"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// TestWhatLooksWrongAndWorks is the other side of each limit above.
func TestWhatLooksWrongAndWorks(t *testing.T) {
	cases := map[string]string{
		"lease_exactly_at_the_limit":     "lease: {duration: 10s, fenceAfter: 7s, stopTime: 1s}",
		"lease_fences_as_soon_as_it_may": "lease: {fenceAfter: 3s}",
		"lease_shortest":                 "lease: {duration: 2s, fenceAfter: 1s, stopTime: 100ms, renewEvery: 100ms}",
		"hba_names_trust":                "postgresql: {hba: ['hostssl trust_db trusted all scram-sha-256 # no trust']}",
		"walsenders_exactly_enough":      "postgresql: {parameters: {max_wal_senders: 9}}",
		"one_site_generated":             "site: leo\nsites: {leo: {host: 198.51.100.1}}",
		"generated_cert_manager_alone":   "tls: {mode: certManager}",
		"version_as_text":                "postgresql: {version: '18'}",
		"pgpools_exactly_fit":            "replicas: 0\npgpool: {replicas: 1, children: 97}\npostgresql: {parameters: {max_connections: 100}}",
		"many_replicas_without_pgpool":   "replicas: 9\npgpool: {enabled: false}",
		"cache_of_one_pgpool":            "pgpool: {replicas: 1, cache: {enabled: true}}",
		"no_databases_and_no_users":      "databases: {app: null}\nusers: {app: null}",
		"node_port":                      "service: {rw: {type: NodePort, nodePort: 30432}}",
		"slug_of_capitals_cannot_clash":  "users: {a_b: {}, ab: {}}",
	}
	for name, values := range cases {
		t.Run(name, func(t *testing.T) {
			objects(t, release{values: values}.mustRender(t))
		})
	}
}

// TestWhatTheAgentsRefuseTheChartRefusesFirst reads the agents' own lists: a refusal in a running pod comes too late.
func TestWhatTheAgentsRefuseTheChartRefusesFirst(t *testing.T) {
	pgconf, pgpool := parse(t, "../../agents/internal/pgconf"), parse(t, "../../agents/internal/pgpool")
	lists := map[string][]string{
		"postgresql": append(literalKeys(t, pgconf, "fixedSettings"), literalKeys(t, pgconf, "elsewhere")...),
		"pgpool":     append(literalKeys(t, pgpool, "held"), literalKeys(t, pgpool, "heldPrefixes")...),
	}
	for section, names := range lists {
		values := section + ": {parameters: {" + strings.Join(names, ": '1', ") + ": '1'}}"
		_, err := release{values: values}.render(t)
		for _, name := range names {
			if err == nil || !strings.Contains(err.Error(), section+".parameters."+name+" cannot be set: ") {
				t.Errorf("%s.parameters.%s is refused by the agents and not by the chart", section, name)
			}
		}
	}
}

// parse reads a package's files, without its tests.
func parse(t *testing.T, dir string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// literalKeys are the string keys of the map literal in a function or variable of that name.
func literalKeys(t *testing.T, files []*ast.File, name string) []string {
	t.Helper()
	var found []string
	collect := func(node ast.Node) bool {
		if pair, ok := node.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.BasicLit); ok && key.Kind == token.STRING {
				text, err := strconv.Unquote(key.Value)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, text)
			}
		}
		return true
	}
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == name {
					ast.Inspect(n, collect)
				}
			case *ast.ValueSpec:
				if n.Names[0].Name == name {
					ast.Inspect(n, collect)
				}
			}
			return true
		})
	}
	if len(found) < 3 {
		t.Fatalf("%s: only %v found", name, found)
	}
	return found
}
