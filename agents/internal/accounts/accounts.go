// Package accounts keeps the database's own roles, and the users and databases of the settings, as they are meant to be. The leader runs
// it; doing it twice does nothing the second time. What is not mentioned in the settings is left alone: nobody and nothing is ever
// dropped.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// Our own roles (ARCHITECTURE.md, "Roles in the database"). They log in by client certificate and have no password.
const (
	Replication = "pgspan_replication"
	Rewind      = "pgspan_rewind"
	Pooler      = "pgspan_pooler"
)

const superuser = "postgres"

// allowed are the options a user may have. Whoever needs a superuser makes one by hand and knows it.
var allowed = map[string]func(*pg.Attributes){
	"CREATEDB":     func(a *pg.Attributes) { a.CreateDB = true },
	"NOCREATEDB":   func(a *pg.Attributes) { a.CreateDB = false },
	"CREATEROLE":   func(a *pg.Attributes) { a.CreateRole = true },
	"NOCREATEROLE": func(a *pg.Attributes) { a.CreateRole = false },
	"INHERIT":      func(a *pg.Attributes) { a.Inherit = true },
	"NOINHERIT":    func(a *pg.Attributes) { a.Inherit = false },
	"LOGIN":        func(a *pg.Attributes) { a.Login = true },
	"NOLOGIN":      func(a *pg.Attributes) { a.Login = false },
}

// Check reports everything in the settings that will not be done, in the operator's words.
func Check(s settings.Settings) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.Users)) {
		if reserved(name) {
			problems = append(problems, fmt.Errorf("user %s: names that begin with pg_ or pgspan_ belong to PostgreSQL and pgspan, and postgres is the superuser", name))
		}
		for _, o := range s.Users[name].Options {
			if _, ok := allowed[strings.ToUpper(o)]; !ok {
				problems = append(problems, fmt.Errorf("user %s: option %s is not given to users of the settings; possible are %s",
					name, o, strings.Join(slices.Sorted(maps.Keys(allowed)), ", ")))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Databases)) {
		if name == "template0" || name == "template1" {
			problems = append(problems, fmt.Errorf("database %s: templates are not managed", name))
		}
		if s.Databases[name].Owner == "" {
			problems = append(problems, fmt.Errorf("database %s has no owner", name))
		}
	}
	return errors.Join(problems...)
}

func reserved(name string) bool {
	return name == superuser || strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "pgspan_")
}

// Passwords returns a user's password, or what is wrong with it in the operator's words.
type Passwords func(user string) (string, error)

// Keep makes accounts and databases as the settings say, on the server at w, with these passwords. It does all it can and returns what
// it could not; changed lists what it did.
func Keep(ctx context.Context, w pg.Where, s settings.Settings, passwords Passwords) (changed []string, err error) {
	a, err := pg.OpenAdmin(ctx, w, "postgres")
	if err != nil {
		return nil, err
	}
	defer a.Close()
	k := &keeper{admin: a, where: w, settings: s, passwords: passwords}
	if k.roles, err = a.Roles(ctx); err != nil {
		return nil, err
	}
	if k.memberships, err = a.Memberships(ctx); err != nil {
		return nil, err
	}
	if err := Check(s); err != nil {
		k.problem(err)
	}
	k.own(ctx)
	for _, name := range slices.Sorted(maps.Keys(s.Users)) {
		k.user(ctx, name, s.Users[name])
	}
	k.grants(ctx)
	k.databases(ctx)
	return k.changed, errors.Join(k.problems...)
}

// keeper is one run.
type keeper struct {
	admin       *pg.Admin
	where       pg.Where
	settings    settings.Settings
	passwords   Passwords
	roles       map[string]pg.Role
	memberships map[string]map[string]bool
	changed     []string
	problems    []error
}

func (k *keeper) problem(err error) { k.problems = append(k.problems, err) }

// did notes a change, or its failure.
func (k *keeper) did(what string, err error) bool {
	if err != nil {
		k.problem(err)
		return false
	}
	k.changed = append(k.changed, what)
	return true
}

// own makes our roles and, if it may log in over TCP, gives the superuser its password.
func (k *keeper) own(ctx context.Context) {
	k.role(ctx, Replication, pg.Attributes{Login: true, Replication: true, Inherit: true, ConnectionLimit: -1})
	k.role(ctx, Rewind, pg.Attributes{Login: true, Inherit: true, ConnectionLimit: -1})
	k.role(ctx, Pooler, pg.Attributes{Login: true, Inherit: true, ConnectionLimit: -1})
	k.member(ctx, Pooler, "pg_monitor")
	k.member(ctx, Rewind, "pg_checkpoint") // a leader that was just promoted must write one before pg_rewind can use it
	if _, ok := k.roles[Rewind]; ok {
		if err := k.admin.GrantRewind(ctx, Rewind); err != nil {
			k.problem(err)
		}
	}
	if k.settings.SuperuserTCP {
		k.password(ctx, superuser)
	}
}

func (k *keeper) user(ctx context.Context, name string, u settings.User) {
	if reserved(name) {
		return // Check has said so
	}
	want := pg.Attributes{Login: true, Inherit: true, ConnectionLimit: -1}
	for _, o := range u.Options {
		if set, ok := allowed[strings.ToUpper(o)]; ok {
			set(&want)
		}
	}
	if u.ConnectionLimit != nil {
		want.ConnectionLimit = *u.ConnectionLimit
	}
	if k.role(ctx, name, want) {
		k.password(ctx, name)
	}
}

// role makes a role, or gives it its attributes back, and reports whether it is there.
func (k *keeper) role(ctx context.Context, name string, want pg.Attributes) bool {
	is, there := k.roles[name]
	switch {
	case !there:
		if !k.did("role "+name+" created", k.admin.CreateRole(ctx, name, want)) {
			return false
		}
	case is.Attributes != want:
		if !k.did("role "+name+" altered", k.admin.AlterRole(ctx, name, want)) {
			return true
		}
	}
	is.Name, is.Attributes = name, want
	k.roles[name] = is
	return true
}

// password brings the stored verifier in step with the Secret. A password that cannot be read is told and nothing is changed: an old
// one that works is better than none.
func (k *keeper) password(ctx context.Context, name string) {
	p, err := k.read(name)
	if err != nil {
		k.problem(err)
		return
	}
	role := k.roles[name]
	if matches(p, role.Verifier) {
		return
	}
	v, err := verifier(p)
	if err != nil {
		k.problem(fmt.Errorf("password of user %s: %w", name, err))
		return
	}
	if k.did("password of "+name+" set", k.admin.SetVerifier(ctx, name, v)) {
		role.Verifier = v
		k.roles[name] = role
	}
}

func (k *keeper) read(name string) (password, error) {
	text, err := k.passwords(name)
	if err != nil {
		return "", fmt.Errorf("password of user %s: %w", name, err)
	}
	p := strings.TrimRight(text, "\r\n")
	if p == "" {
		return "", fmt.Errorf("password of user %s: it is empty", name)
	}
	return password(p), nil
}

func (k *keeper) grants(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(k.settings.Users)) {
		if reserved(name) {
			continue
		}
		for _, of := range k.settings.Users[name].MemberOf {
			k.member(ctx, name, of)
		}
	}
}

func (k *keeper) member(ctx context.Context, name, of string) {
	if _, ok := k.roles[name]; !ok || k.memberships[name][of] {
		return
	}
	k.did(name+" made a member of "+of, k.admin.GrantRole(ctx, of, name))
}

func (k *keeper) databases(ctx context.Context) {
	there, err := k.admin.Databases(ctx)
	if err != nil {
		k.problem(err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(k.settings.Databases)) {
		d := k.settings.Databases[name]
		if d.Owner == "" || name == "template0" || name == "template1" {
			continue
		}
		owner, ok := there[name]
		switch {
		case !ok && !k.did("database "+name+" created", k.admin.CreateDatabase(ctx, name, d.Owner)):
			continue
		case ok && owner != d.Owner:
			k.did("database "+name+" given to "+d.Owner, k.admin.SetOwner(ctx, name, d.Owner))
		}
		if len(d.Extensions) > 0 {
			k.extensions(ctx, name, d.Extensions)
		}
	}
}

func (k *keeper) extensions(ctx context.Context, database string, want []string) {
	a, err := pg.OpenAdmin(ctx, k.where, database)
	if err != nil {
		k.problem(err)
		return
	}
	defer a.Close()
	there, err := a.Extensions(ctx)
	if err != nil {
		k.problem(fmt.Errorf("database %s: %w", database, err))
		return
	}
	for _, e := range want {
		if there[e] {
			continue
		}
		if err := a.CreateExtension(ctx, e); err != nil {
			k.problem(fmt.Errorf("database %s: %w", database, err))
			continue
		}
		k.changed = append(k.changed, fmt.Sprintf("extension %s created in database %s", e, database))
	}
}
