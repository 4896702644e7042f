package postdock

import (
	"fmt"
	"maps"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// Overlay puts the variables over the chart's settings and says what became of each that was given. A value of the chart wins over the
// same one here, because two places that change one setting would have to be looked at both. Problems refuse the start.
func (e Env) Overlay(s settings.Settings) (out settings.Settings, notes, problems []string) {
	out = s
	configs, err := ParseConfigs(e.Configs, e.ConfigsDelimiterSymbol, e.ConfigsAssignmentSymbol)
	if err != nil {
		return s, nil, []string{err.Error()}
	}
	merged := map[string]string{}
	for name, value := range s.PostgreSQL.Parameters {
		merged[strings.ToLower(name)] = value
	}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if _, ok := merged[name]; ok {
			notes = append(notes, fmt.Sprintf("CONFIGS, %s: postgresql.parameters sets it too, and that counts", name))
			continue
		}
		if name == "shared_preload_libraries" && len(s.PostgreSQL.SharedPreloadLibraries) == 0 {
			out.PostgreSQL.SharedPreloadLibraries = list(configs[name])
			continue
		}
		if why, ours := unsafe[name]; ours {
			notes = append(notes, fmt.Sprintf("CONFIGS, %s has no effect: %s", name, why))
			continue
		}
		merged[name] = configs[name]
	}
	if len(merged) > 0 {
		out.PostgreSQL.Parameters = merged
	}
	return out, append(notes, e.sentences()...), nil
}

// unsafe are settings that PostDock's users give because its own defaults made them necessary. Here they are what they are; an old
// environment need not be weeded before it works. Everything else that high availability owns is refused as always.
var unsafe = map[string]string{
	"listen_addresses":      "the server listens everywhere",
	"wal_level":             "it is logical",
	"wal_log_hints":         "it is on",
	"hot_standby":           "it is on",
	"archive_mode":          "it is on",
	"archive_command":       "archiving is not configured by parameters",
	"wal_keep_segments":     "it is gone since PostgreSQL 13; slots keep what members need",
	"ssl":                   "it is on",
	"ssl_cert_file":         "certificates come from the mounted Secret",
	"ssl_key_file":          "certificates come from the mounted Secret",
	"ssl_ca_file":           "certificates come from the mounted Secret",
	"max_wal_senders":       "it follows from the number of members",
	"max_replication_slots": "it follows from the number of members",
}

func list(value string) []string {
	var names []string
	for _, name := range strings.Split(value, ",") {
		if name = strings.Trim(strings.TrimSpace(name), `"`); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// sentences says what became of the variables that are given.
func (e Env) sentences() []string {
	var notes []string
	say := func(name, value, sentence string) {
		if value != "" {
			notes = append(notes, name+" "+sentence)
		}
	}
	say("NODE_PRIORITY", e.NodePriority, "has no effect: failover.priority in the chart's values decides between equals")
	say("USE_REPLICATION_SLOTS", e.UseReplicationSlots, "has no effect: each member has a slot, made and removed by the leader's keeper")
	say("CLEAN_OVER_REWIND", e.CleanOverRewind, "has no effect: how a member comes back is decided by what is on its volume")
	say("PARTNER_NODES", e.PartnerNodes, "has no effect: members know each other from the record, and nobody becomes primary because no partner answered")
	say("POSTGRES_DB", e.PostgresDB, "has no effect: name databases in the chart's values, under databases")
	say("POSTGRES_USER", e.PostgresUser, "has no effect: name users in the chart's values, under users; the first role is postgres")
	say("POSTGRES_PASSWORD", string(e.PostgresPassword), "has no effect: passwords come from Secrets, see users.<name>.existingSecret")
	say("POSTGRES_PASSWORD_FILE", e.PostgresPasswordFile, "has no effect: passwords come from Secrets, see users.<name>.existingSecret")
	say("DB_USERS", string(e.DBUsers), "has no effect: name users in the chart's values; passwords come from Secrets, see users.<name>.existingSecret")
	say("REPLICATION_HOST", e.ReplicationHost, "is the old name of REPLICATION_PRIMARY_HOST")
	say("REPLICATION_PORT", e.ReplicationPort, "is the old name of REPLICATION_PRIMARY_PORT")
	ignored := reflect.ValueOf(e.Ignored)
	for i := range ignored.NumField() {
		tag := ignored.Type().Field(i).Tag
		say(tag.Get("envconfig"), ignored.Field(i).String(), "has no effect: "+tag.Get("why"))
	}
	return notes
}

// ID is PostDock's rule for the number of a node: given, or 1000 and the number behind the last hyphen of its name.
func (e Env) ID() (int, error) {
	if e.NodeID != "" {
		n, err := strconv.Atoi(e.NodeID)
		if err != nil || n < 1 {
			return 0, fmt.Errorf("NODE_ID is %q: want a number above 0", e.NodeID)
		}
		return n, nil
	}
	n, err := strconv.Atoi(e.NodeName[strings.LastIndex(e.NodeName, "-")+1:])
	if err != nil || n < 0 {
		return 0, fmt.Errorf("NODE_ID is not set and NODE_NAME %q does not end in a hyphen and a number", e.NodeName)
	}
	return 1000 + n, nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9-]+`)

// Settings are a database's settings for a pod that has none of the chart's, by the same names that PostDock used.
func (e Env) Settings() settings.Settings {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(e.ClusterName), "-"), "-")
	if name == "" {
		name = "pg-cluster" // PostDock's default, as Kubernetes would spell it
	}
	return settings.Settings{Release: name, ClusterDomain: "cluster.local", Port: 5432, Members: settings.Members{Primary: 1, Replicas: 1}}
}

// Replica is the grant of a pod that runs without keeper: a replica of the named primary, and nothing else. There is nobody who could
// take a lease, so such a pod never becomes primary; PostDock started one when it found no partner, which is how two came about.
func (e Env) Replica(me grant.Incarnation) (grant.Grant, []string) {
	var problems []string
	id, err := e.ID()
	if err != nil {
		problems = append(problems, err.Error())
	}
	host, port := e.ReplicationPrimaryHost, e.ReplicationPrimaryPort
	if host == "" {
		host = e.ReplicationHost
	}
	if port == "" {
		port = e.ReplicationPort
	}
	switch {
	case host == "" && e.PartnerNodes != "":
		problems = append(problems, "REPLICATION_PRIMARY_HOST is not set: without keeper nobody asks PARTNER_NODES which of them is primary")
	case host == "":
		problems = append(problems, "REPLICATION_PRIMARY_HOST is not set: a pod without keeper can only be a replica")
	case host == e.ClusterNodeNetworkName || host == e.NodeName:
		problems = append(problems, "REPLICATION_PRIMARY_HOST is this node: a pod without keeper cannot be primary")
	}
	number := 5432
	if port != "" {
		if number, err = strconv.Atoi(port); err != nil || number < 1 || number > 65535 {
			problems = append(problems, fmt.Sprintf("REPLICATION_PRIMARY_PORT is %q: want 1 to 65535", port))
		}
	}
	if len(problems) > 0 {
		return grant.Grant{}, problems
	}
	me.Member = fmt.Sprintf("node-%d", id)
	up := grant.Upstream{Member: "unknown", Name: host, Host: host, Port: number}
	if net.ParseIP(host) != nil {
		up.Address = host
	}
	return grant.Grant{
		Format: grant.Format, Seq: 1, Holder: me, Role: grant.Replica, MayClone: true, Upstream: &up, SyncName: fmt.Sprintf("node_%d", id),
		Reason: "there is no keeper; REPLICATION_PRIMARY_HOST names the primary",
	}, nil
}
