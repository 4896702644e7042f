package pgconf

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	parameterName = regexp.MustCompile(`^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)?$`)
	libraryName   = regexp.MustCompile(`^[A-Za-z0-9_$][A-Za-z0-9_$./-]*$`)
)

// userSettings returns the user's layer, names in lower case, and what is wrong with it.
func userSettings(in Input, fixed map[string]string) (map[string]string, []string) {
	given := in.Settings.PostgreSQL.Parameters
	user := map[string]string{}
	var problems []string
	for _, spelled := range slices.Sorted(maps.Keys(given)) {
		name, value := strings.ToLower(spelled), given[spelled]
		if _, twice := user[name]; twice {
			problems = append(problems, fmt.Sprintf("postgresql.parameters has %s twice, in different spellings", name))
			continue
		}
		user[name] = value
		if problem := refusal(in, fixed, name, value); problem != "" {
			problems = append(problems, "postgresql.parameters."+spelled+" "+problem)
		}
	}
	for _, library := range in.Settings.PostgreSQL.SharedPreloadLibraries {
		if !libraryName.MatchString(library) {
			problems = append(problems, fmt.Sprintf("postgresql.sharedPreloadLibraries has %q, which is not the name of a library", library))
		}
	}
	return user, problems
}

// refusal says why the user may not set name to value; empty when he may.
func refusal(in Input, fixed map[string]string, name, value string) string {
	if !parameterName.MatchString(name) {
		return "is not the name of a setting"
	}
	if strings.ContainsRune(value, 0) {
		return "holds a zero byte"
	}
	if ours, ok := fixed[name]; ok {
		return fmt.Sprintf("cannot be set: high availability needs it to be %q", ours)
	}
	if why, ok := elsewhere[name]; ok {
		return "cannot be set: " + why
	}
	return bound(in, name, value)
}

// bound is for settings that are the user's within limits.
func bound(in Input, name, value string) string {
	switch name {
	case "max_wal_senders", "max_replication_slots":
		least := need(in)
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err != nil || n < least {
			return fmt.Sprintf("is %q and must be a number of at least %d: three for each member", value, least)
		}
	case "max_slot_wal_keep_size":
		if strings.HasPrefix(strings.TrimSpace(value), "-") {
			return "must have a limit: without one, a member that stays away fills the disk of the primary"
		}
	case "ssl_min_protocol_version", "ssl_max_protocol_version":
		if value != "TLSv1.2" && value != "TLSv1.3" {
			return fmt.Sprintf("is %q and must be TLSv1.2 or TLSv1.3", value)
		}
	}
	return ""
}

// raise lifts settings to what a standby needs. The primary may have been given more than the values of this pod say, or the pods are
// half way through a change; a standby with less stops replaying and can then not be promoted.
func raise(conf map[string]string, floor map[string]int) (raised, notes, problems []string) {
	for _, name := range slices.Sorted(maps.Keys(floor)) {
		least := floor[name]
		text, set := conf[name]
		if !set {
			text = strconv.Itoa(builtin[name])
		}
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			problems = append(problems, fmt.Sprintf("postgresql.parameters.%s is %q and must be a number", name, text))
			continue
		}
		if n >= least {
			continue
		}
		conf[name] = strconv.Itoa(least)
		raised = append(raised, name)
		notes = append(notes, fmt.Sprintf("%s is %d here instead of %d, because the primary has that much and a standby needs no less", name, least, n))
	}
	return raised, notes, problems
}

// MustMatch reports whether a standby pauses replay when it has less of a setting than its leader.
func MustMatch(name string) bool {
	_, must := builtin[name]
	return must
}

// builtin are PostgreSQL's own values of the settings that raise looks at.
var builtin = map[string]int{
	"max_connections":           100,
	"max_worker_processes":      8,
	"max_wal_senders":           10,
	"max_prepared_transactions": 0,
	"max_locks_per_transaction": 64,
}
