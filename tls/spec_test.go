package sitecerts

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC)

func twoSites() Spec {
	return Spec{Sites: []Site{
		{Name: "leo", Host: "198.18.1.200", Fullname: "db", Namespaces: []string{"pg"}, ClusterDomain: "cluster.local"},
		{Name: "ait", Host: "2001:db8::5", Fullname: "orders", Namespaces: []string{"data"}, ClusterDomain: "ait.example"},
	}}
}

func TestSpecIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Spec)
		want   string
	}{
		"no_sites":                         {func(s *Spec) { s.Sites = nil }, "there is no site"},
		"two_sites_one_without_host":       {func(s *Spec) { s.Sites[1].Host = "" }, "site ait has no host"},
		"host_with_port":                   {func(s *Spec) { s.Sites[0].Host = "198.18.1.200:5432" }, "without the port"},
		"host_is_a_url":                    {func(s *Spec) { s.Sites[0].Host = "postgres://db" }, "not a URL"},
		"ipv6_in_brackets":                 {func(s *Spec) { s.Sites[1].Host = "[2001:db8::5]" }, "without brackets"},
		"ipv6_with_zone":                   {func(s *Spec) { s.Sites[1].Host = "fe80::1%eth0" }, "zone"},
		"unspecified_address":              {func(s *Spec) { s.Sites[0].Host = "0.0.0.0" }, "nobody"},
		"mistyped_address_is_not_a_name":   {func(s *Spec) { s.Sites[0].Host = "198.18.1.2000" }, "looks like an IP address"},
		"host_with_underscore":             {func(s *Spec) { s.Sites[0].Host = "db_one" }, "neither a DNS name"},
		"wildcard_host":                    {func(s *Spec) { s.Sites[0].Host = "*.example" }, "neither a DNS name"},
		"no_release":                       {func(s *Spec) { s.Sites[0].Fullname = "" }, "no release name"},
		"no_namespace":                     {func(s *Spec) { s.Sites[0].Namespaces = nil }, "no namespace"},
		"bad_namespace":                    {func(s *Spec) { s.Sites[0].Namespaces = []string{"a.b"} }, `namespace "a.b"`},
		"extra_name_with_space":            {func(s *Spec) { s.ExtraNames = []string{"a b"} }, `extra name "a b"`},
		"leaf_outlives_its_ca":             {func(s *Spec) { s.CALife, s.LeafLife = time.Hour*24, time.Hour*48 }, "outlive their CA"},
		"life_shorter_than_the_backdate":   {func(s *Spec) { s.LeafLife = time.Minute }, "valid for more than"},
		"wildcard_in_the_middle_of_a_name": {func(s *Spec) { s.ExtraNames = []string{"a.*.b"} }, `extra name "a.*.b"`},
	} {
		t.Run(name, func(t *testing.T) {
			spec := twoSites()
			tc.change(&spec)
			err := spec.Validate()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a sentence with %q", err, tc.want)
			}
		})
	}
	t.Run("all_problems_are_reported_at_once", func(t *testing.T) {
		spec := twoSites()
		spec.Sites[0].Host, spec.Sites[1].Fullname = "a:1", ""
		err := spec.Validate()
		if err == nil || !strings.Contains(err.Error(), "port") || !strings.Contains(err.Error(), "release") {
			t.Errorf("got %v, want both problems", err)
		}
	})
}

func TestSpecIsAccepted(t *testing.T) {
	spec := twoSites()
	spec.ExtraNames = []string{"*.db.example", "DB.Example", "198.18.9.9", "::ffff:198.18.9.9"}
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	one := Spec{Sites: []Site{{Fullname: "db", Namespaces: []string{"pg"}, ClusterDomain: "cluster.local"}}}
	if err := one.Validate(); err != nil {
		t.Errorf("one site needs no host: %v", err)
	}
}

func TestServerNames(t *testing.T) {
	spec := twoSites()
	spec.ExtraNames = []string{"*.db.example", "DB.Example", "198.18.9.9", "::ffff:198.18.9.9"}
	names, addresses := spec.ServerNames()
	for _, want := range []string{
		"db-rw", "db-ro.pg", "db-r.pg.svc", "db-rw.pg.svc.cluster.local", "db-cross.pg.svc", "db-pgpool", "db-pgbouncer.pg",
		"db-members.pg", "*.db-members", "*.db-members.pg.svc", "*.db-members.pg.svc.cluster.local",
		"orders-rw.data.svc.ait.example", "*.orders-members.data.svc.ait.example", "localhost", "*.db.example", "db.example",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, unwanted := range []string{"db-rw.pg.svc.ait.example", "orders-rw.pg", "198.18.1.200", "DB.Example"} {
		if slices.Contains(names, unwanted) {
			t.Errorf("%s must not be there", unwanted)
		}
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("names are not sorted and unique")
	}
	want := []string{"127.0.0.1", "198.18.1.200", "198.18.9.9", "::1", "2001:db8::5"}
	if got := certNames(nil, addresses); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(addresses[1]) != net.IPv4len {
		t.Error("an IPv4 address must be encoded in four bytes")
	}
}

func TestReadValues(t *testing.T) {
	common := `
clusterDomain: cluster.local
tls: {extraNames: [db.example], mode: secret}
sites:
  leo: {host: 198.18.1.200, port: 5432, namespace: pg-leo}
  ait: {host: ait.example, release: orders, clusterDomain: k8s.ait}
  old: {host: old.example}
`
	values, err := ReadValues([]byte(common), []byte("sites: {leo: {host: 198.18.1.201}, old: null}\nreplicas: 3"))
	if err != nil {
		t.Fatal(err)
	}
	spec := values.Spec(Release{Name: "db", Namespaces: []string{"pg", "pg2"}, ExtraNames: []string{"more.example"}})
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(spec.Sites) != 2 {
		t.Fatalf("got %d sites, want 2: null removes one", len(spec.Sites))
	}
	ait, leo := spec.Sites[0], spec.Sites[1]
	if leo.Host != "198.18.1.201" || !slices.Equal(leo.Namespaces, []string{"pg-leo"}) || leo.Fullname != "db" || leo.ClusterDomain != "cluster.local" {
		t.Errorf("leo is %+v", leo)
	}
	if ait.Fullname != "orders" || !slices.Equal(ait.Namespaces, []string{"pg", "pg2"}) || ait.ClusterDomain != "k8s.ait" {
		t.Errorf("ait is %+v", ait)
	}
	if !slices.Equal(spec.ExtraNames, []string{"db.example", "more.example"}) {
		t.Errorf("extra names are %v", spec.ExtraNames)
	}
}

func TestReadValuesWithoutSites(t *testing.T) {
	values, err := ReadValues([]byte("fullnameOverride: pgmain\nnamespaceOverride: pg"))
	if err != nil {
		t.Fatal(err)
	}
	spec := values.Spec(Release{Name: "db"})
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := spec.Sites[0]; got.Fullname != "pgmain" || got.Namespaces[0] != "pg" || got.ClusterDomain != "cluster.local" {
		t.Errorf("got %+v", got)
	}
}

func TestReadValuesRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"not_yaml":             {"sites: [", "read values file 1"},
		"sites_as_a_list":      {"sites: [{host: a}]", "sites in the values must be a map, not array"},
		"host_as_a_number":     {"sites: {leo: {host: 198.18}}", "host in the values must be a string, not number"},
		"values_is_not_a_map":  {"- a", "read values file 1"},
		"same_key_given_twice": {"sites: {leo: {host: a}}\nsites: {ait: {host: b}}", "read values file 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadValues([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a sentence with %q", err, tc.want)
			}
		})
	}
}

// The wanted names are what `helm template` printed for these releases.
func TestFullname(t *testing.T) {
	for release, want := range map[string]string{
		"db":         "db",
		"my.release": "my-release",
		"15main":     "pg-15main",
		"a-release-with-exactly-forty-characters-":      "a-release-with-exactly-forty-characters",
		"the-orders-database-of-the-northern-warehouse": "the-orders-database-of-the-nort-3f937706",
		"": "",
	} {
		if got := Fullname(release); got != want {
			t.Errorf("%q: got %q, want %q", release, got, want)
		}
	}
}
