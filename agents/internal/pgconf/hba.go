package pgconf

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/settings"
)

// Roles and certificate names of ours. The certificate's common name is the role's, but for pg_rewind, which logs in with keeper's.
const (
	ReplicationRole = "pgspan_replication"
	RewindRole      = "pgspan_rewind"
	PoolerRole      = "pgspan_pooler"
	KeeperName      = "pgspan_keeper"
	rewindMap       = "pgspan_rewind"
)

// renderHBA writes who may log in how: ours, the user's, then everybody by TLS and password.
func renderHBA(s settings.Settings) ([]byte, []string) {
	var b strings.Builder
	b.WriteString(header)
	b.WriteString(`# Ours. The socket's directory is mounted by the server and keeper only, under the user that owns the data files.
local   all             postgres                                        trust
hostssl replication     ` + ReplicationRole + `              all             cert
hostssl all             ` + RewindRole + `                   all             cert map=` + rewindMap + `
hostssl all             ` + PoolerRole + `                   all             cert
host    all,replication ` + ReplicationRole + `,` + RewindRole + `,` + PoolerRole + ` all reject
`)
	if !s.SuperuserTCP {
		b.WriteString("host    all,replication postgres                        all             reject\n")
	}
	var problems []string
	if len(s.PostgreSQL.HBA) > 0 {
		b.WriteString("# postgresql.hba\n")
	}
	for i, line := range s.PostgreSQL.HBA {
		if problem := checkHBA(line); problem != "" {
			problems = append(problems, fmt.Sprintf("postgresql.hba[%d] %q %s", i, line, problem))
			continue
		}
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	b.WriteString("# Everybody else\nhostssl all             all                             all             scram-sha-256\n")
	return []byte(b.String()), problems
}

var hbaTypes = []string{"local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"}

// checkHBA refuses what is no record, and what would let anybody in.
func checkHBA(line string) string {
	if strings.ContainsAny(line, "\n\r\x00") {
		return "has more than one line"
	}
	fields := hbaFields(line)
	if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
		return "" // a comment
	}
	kind := fields[0]
	if !slices.Contains(hbaTypes, kind) {
		return "begins with " + kind + ": want one of " + strings.Join(hbaTypes, ", ")
	}
	least := 5
	if kind == "local" {
		least = 4
	}
	if len(fields) < least {
		return fmt.Sprintf("has %d fields and needs %d", len(fields), least)
	}
	method := 4
	if kind == "local" {
		method = 3
	} else if net.ParseIP(fields[3]) != nil {
		method = 5 // the address has a mask of its own
	}
	if len(fields) <= method {
		return fmt.Sprintf("has %d fields and needs %d: a mask follows an address without one", len(fields), method+1)
	}
	switch name := strings.Trim(fields[method], `"`); { // the server takes the quotes off before it compares
	case name == "trust":
		return "uses trust: nobody may log in without a password or a certificate"
	case !slices.Contains(hbaMethods, name):
		return "has the method " + name + ": want one of " + strings.Join(hbaMethods, ", ")
	}
	return ""
}

// hbaMethods are those of PostgreSQL 15 to 18 that a server of Debian knows, without trust. A server does not start with another one, and a running one
// goes on with the lines of before. Source: PostgreSQL 18, "The pg_hba.conf File".
var hbaMethods = []string{"scram-sha-256", "cert", "md5", "password", "reject", "gss", "sspi", "ident", "peer", "pam", "ldap", "radius", "oauth"}

// hbaFields splits a line as the server does: at blanks, but not inside double quotes.
func hbaFields(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t')
	})
}

// renderIdent maps the names in certificates to roles.
func renderIdent(s settings.Settings) ([]byte, []string) {
	var b strings.Builder
	b.WriteString(header)
	fmt.Fprintf(&b, "%s %s %s\n", rewindMap, KeeperName, RewindRole)
	var problems []string
	if len(s.PostgreSQL.Ident) > 0 {
		b.WriteString("# postgresql.ident\n")
	}
	for i, line := range s.PostgreSQL.Ident {
		fields := hbaFields(line)
		switch {
		case strings.ContainsAny(line, "\n\r\x00"):
			problems = append(problems, fmt.Sprintf("postgresql.ident[%d] has more than one line", i))
		case len(fields) > 0 && strings.HasPrefix(fields[0], "#"):
			b.WriteString(strings.TrimSpace(line) + "\n")
		case len(fields) != 3 || strings.HasPrefix(fields[0], "include"):
			problems = append(problems, fmt.Sprintf("postgresql.ident[%d] %q is not a map, a system name and a role", i, line))
		case strings.HasPrefix(strings.Trim(fields[0], `"`), "pgspan"):
			problems = append(problems, fmt.Sprintf("postgresql.ident[%d] %q adds to a map of ours: names that begin with pgspan are taken", i, line))
		default:
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	return []byte(b.String()), problems
}
