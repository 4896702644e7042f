package pg

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Admin is a session that changes roles and databases. Its statements stay out of the server's log, whatever log_statement says, and
// do not wait for synchronous standbys: a new leader makes again what was lost.
type Admin struct{ conn *session }

// OpenAdmin opens a session in a database.
func OpenAdmin(ctx context.Context, w Where, database string) (*Admin, error) {
	conn, err := w.connect(ctx, database, map[string]string{
		"log_statement":              "none",
		"log_min_error_statement":    "panic",
		"log_min_duration_statement": "-1",
		"log_duration":               "off",
		"synchronous_commit":         "local",
		"statement_timeout":          "60s",
	})
	if err != nil {
		return nil, err
	}
	return &Admin{conn}, nil
}

// Close ends the session.
func (a *Admin) Close() { closeConn(a.conn) }

// Attributes of a role, as far as we manage them.
type Attributes struct {
	Login           bool
	Superuser       bool
	Replication     bool
	BypassRLS       bool
	CreateDB        bool
	CreateRole      bool
	Inherit         bool
	ConnectionLimit int
}

// Role is a role that exists.
type Role struct {
	Name string
	Attributes
	Verifier string // the stored password; empty if none
}

const queryRoles = `
SELECT r.rolname AS name, r.rolcanlogin AS login, r.rolsuper AS superuser, r.rolreplication AS replication, r.rolbypassrls AS bypass_rls,
       r.rolcreatedb AS create_db, r.rolcreaterole AS create_role, r.rolinherit AS inherit, r.rolconnlimit AS connection_limit,
       COALESCE(r.rolpassword, '') AS verifier
  FROM pg_catalog.pg_authid r`

type roleRow struct {
	Name            string
	Login           bool
	Superuser       bool
	Replication     bool
	BypassRLS       bool
	CreateDB        bool
	CreateRole      bool
	Inherit         bool
	ConnectionLimit int
	Verifier        string
}

// Roles returns all roles by name.
func (a *Admin) Roles(ctx context.Context) (map[string]Role, error) {
	list, err := rows[roleRow](ctx, a.conn, queryRoles)
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	out := make(map[string]Role, len(list))
	for _, r := range list {
		out[r.Name] = Role{r.Name, Attributes{r.Login, r.Superuser, r.Replication, r.BypassRLS, r.CreateDB, r.CreateRole, r.Inherit, r.ConnectionLimit}, r.Verifier}
	}
	return out, nil
}

const queryMemberships = `
SELECT m.rolname AS member, g.rolname AS of
  FROM pg_catalog.pg_auth_members x
  JOIN pg_catalog.pg_roles m ON m.oid = x.member
  JOIN pg_catalog.pg_roles g ON g.oid = x.roleid`

// Memberships returns, for each role, the roles it is a member of.
func (a *Admin) Memberships(ctx context.Context) (map[string]map[string]bool, error) {
	list, err := rows[struct{ Member, Of string }](ctx, a.conn, queryMemberships)
	if err != nil {
		return nil, fmt.Errorf("read role memberships: %w", err)
	}
	out := map[string]map[string]bool{}
	for _, m := range list {
		if out[m.Member] == nil {
			out[m.Member] = map[string]bool{}
		}
		out[m.Member][m.Of] = true
	}
	return out, nil
}

// CreateRole makes a role without a password.
func (a *Admin) CreateRole(ctx context.Context, name string, at Attributes) error {
	return a.exec(ctx, "create role "+name, "CREATE ROLE "+quoted(name)+" "+at.options())
}

// AlterRole changes a role's attributes.
func (a *Admin) AlterRole(ctx context.Context, name string, at Attributes) error {
	return a.exec(ctx, "alter role "+name, "ALTER ROLE "+quoted(name)+" "+at.options())
}

// SetVerifier sets what a password is checked against. Only a SCRAM verifier is taken: its alphabet needs no escaping, and a clear
// password must not come this way.
func (a *Admin) SetVerifier(ctx context.Context, name, verifier string) error {
	if !strings.HasPrefix(verifier, "SCRAM-SHA-256$") || strings.ContainsAny(verifier, `'\`) {
		return fmt.Errorf("set the password of role %s: not a SCRAM verifier", name)
	}
	return a.exec(ctx, "set the password of role "+name, "ALTER ROLE "+quoted(name)+" PASSWORD '"+verifier+"'")
}

// GrantRole makes member a member of role.
func (a *Admin) GrantRole(ctx context.Context, role, member string) error {
	return a.exec(ctx, fmt.Sprintf("grant role %s to %s", role, member), "GRANT "+quoted(role)+" TO "+quoted(member))
}

// rewindFunctions are the four that pg_rewind calls on its source (PostgreSQL's manual, pg_rewind, notes).
var rewindFunctions = [...]string{
	"pg_catalog.pg_ls_dir(text, boolean, boolean)",
	"pg_catalog.pg_stat_file(text, boolean)",
	"pg_catalog.pg_read_binary_file(text)",
	"pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
}

const queryMayRewind = `SELECT pg_catalog.has_function_privilege($1, $2, 'EXECUTE') AS may`

// GrantRewind allows a role what pg_rewind needs, in this session's database.
func (a *Admin) GrantRewind(ctx context.Context, role string) error {
	for _, f := range rewindFunctions {
		r, err := row[struct{ May bool }](ctx, a.conn, queryMayRewind, role, f)
		if err != nil {
			return fmt.Errorf("ask whether %s may call %s: %w", role, f, err)
		}
		if r.May {
			continue
		}
		if err := a.exec(ctx, "allow "+role+" to rewind", "GRANT EXECUTE ON FUNCTION "+f+" TO "+quoted(role)); err != nil {
			return err
		}
	}
	return nil
}

const queryDatabases = `SELECT d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner FROM pg_catalog.pg_database d`

// Databases returns the owner of each database.
func (a *Admin) Databases(ctx context.Context) (map[string]string, error) {
	list, err := rows[struct{ Name, Owner string }](ctx, a.conn, queryDatabases)
	if err != nil {
		return nil, fmt.Errorf("read databases: %w", err)
	}
	out := make(map[string]string, len(list))
	for _, d := range list {
		out[d.Name] = d.Owner
	}
	return out, nil
}

// CreateDatabase makes a database.
func (a *Admin) CreateDatabase(ctx context.Context, name, owner string) error {
	return a.exec(ctx, "create database "+name, "CREATE DATABASE "+quoted(name)+" OWNER "+quoted(owner))
}

// SetOwner gives a database to another role.
func (a *Admin) SetOwner(ctx context.Context, name, owner string) error {
	return a.exec(ctx, "change the owner of database "+name, "ALTER DATABASE "+quoted(name)+" OWNER TO "+quoted(owner))
}

const queryExtensions = `SELECT e.extname AS name FROM pg_catalog.pg_extension e`

// Extensions returns the extensions of this session's database.
func (a *Admin) Extensions(ctx context.Context) (map[string]bool, error) {
	list, err := rows[struct{ Name string }](ctx, a.conn, queryExtensions)
	if err != nil {
		return nil, fmt.Errorf("read extensions: %w", err)
	}
	out := make(map[string]bool, len(list))
	for _, e := range list {
		out[e.Name] = true
	}
	return out, nil
}

// CreateExtension makes an extension in the schema public, where users look for it: with the pinned search_path it would land in pg_catalog.
func (a *Admin) CreateExtension(ctx context.Context, name string) error {
	return a.exec(ctx, "create extension "+name, "SET search_path = public; CREATE EXTENSION IF NOT EXISTS "+quoted(name)+" CASCADE; SET search_path = pg_catalog")
}

// Run runs statements of the user's. They wait for synchronous standbys like any other, and see the usual search_path.
func (a *Admin) Run(ctx context.Context, statements string) error {
	if err := a.exec(ctx, "prepare for the user's statements", "RESET search_path; SET search_path = \"$user\", public; SET synchronous_commit = on; SET statement_timeout = 0"); err != nil {
		return err
	}
	if err := a.conn.run(ctx, statements); err != nil {
		return fmt.Errorf("run the user's statements: %w", err)
	}
	return nil
}

func (a *Admin) exec(ctx context.Context, what, statement string) error {
	if err := a.conn.run(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// options gives every attribute explicitly, so that what somebody changed by hand is changed back.
func (at Attributes) options() string {
	word := func(on bool, name string) string {
		if on {
			return name
		}
		return "NO" + name
	}
	return strings.Join([]string{
		word(at.Login, "LOGIN"), word(at.Superuser, "SUPERUSER"), word(at.Replication, "REPLICATION"), word(at.BypassRLS, "BYPASSRLS"),
		word(at.CreateDB, "CREATEDB"), word(at.CreateRole, "CREATEROLE"), word(at.Inherit, "INHERIT"),
		"CONNECTION LIMIT " + strconv.Itoa(at.ConnectionLimit),
	}, " ")
}
