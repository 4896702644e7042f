package pgconf

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

// renderUpstream writes whom a standby streams from: one server, never a list, because two lists can disagree (SAFETY rule 13).
func renderUpstream(in Input) []byte {
	conninfo, slot := "", ""
	if in.From != nil {
		conninfo = Conninfo(*in.From, in.Keys, in.SyncName)
		slot = in.Slot
	}
	var b strings.Builder
	b.WriteString("# Written by pgspan from the grant; changes made here are lost.\n")
	fmt.Fprintf(&b, "primary_conninfo = %s\n", Quote(conninfo))
	fmt.Fprintf(&b, "primary_slot_name = %s\n", Quote(slot))
	if in.Vote {
		b.WriteString("# An election waits for replay, and so do all who write: no reader holds it up. Your own values count again afterwards.\n")
		for _, name := range voteSettings {
			fmt.Fprintf(&b, "%s = 0\n", name)
		}
	}
	return []byte(b.String())
}

// voteSettings are the user's, but for elections.
var voteSettings = []string{"max_standby_archive_delay", "max_standby_streaming_delay"}

// Conninfo is how a standby or a clone logs in at from: by client certificate, after checking that the server's certificate is that of
// the host that was meant. It holds no secret.
func Conninfo(from grant.Upstream, keys, application string) string {
	return conninfo(from, keys, application, login{user: ReplicationRole, pair: "replication"})
}

// RewindConninfo is how pg_rewind logs in at from.
func RewindConninfo(from grant.Upstream, keys, application string) string {
	return conninfo(from, keys, application, login{user: RewindRole, pair: "keeper", database: "postgres"})
}

// login is who comes, with which certificate, to which database; a standby comes to none.
type login struct{ user, pair, database string }

func conninfo(from grant.Upstream, keys, application string, as login) string {
	c := []struct{ name, value string }{
		{"host", from.Host},
		{"hostaddr", from.Address},
		{"port", strconv.Itoa(from.Port)},
		{"user", as.user},
		{"dbname", as.database},
		{"application_name", application},
		{"sslmode", "verify-full"},
		{"sslrootcert", filepath.Join(keys, "ca.crt")},
		{"sslcert", filepath.Join(keys, as.pair+".crt")},
		{"sslkey", filepath.Join(keys, as.pair+".key")},
		{"ssl_min_protocol_version", "TLSv1.2"},
		{"gssencmode", "disable"}, // libpq would try it first
		// A server that vanished with its node is noticed in about ten seconds.
		{"connect_timeout", "10"},
		{"keepalives", "1"},
		{"keepalives_idle", "5"},
		{"keepalives_interval", "2"},
		{"keepalives_count", "3"},
		{"tcp_user_timeout", "5000"},
	}
	var words []string
	for _, p := range c {
		if p.value != "" {
			words = append(words, p.name+"="+conninfoValue(p.value))
		}
	}
	return strings.Join(words, " ")
}

// conninfoValue quotes for libpq, whose rules are not those of configuration files.
func conninfoValue(v string) string {
	if v != "" && !strings.ContainsAny(v, ` '\`) {
		return v
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}
