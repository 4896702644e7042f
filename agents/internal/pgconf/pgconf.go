// Package pgconf writes the server's configuration from the chart's settings, the size of the machine and the grant. It is derived
// again at every start and lies outside the data directory, so that no base backup can carry a stale one. Equal input gives equal
// bytes.
//
// Settings come in three layers: our defaults, over them the user's postgresql.parameters, over them what high availability needs. The
// third layer cannot be overridden: the attempt is refused with a sentence. What never changes while a server runs stands on its
// command line, where neither a file nor ALTER SYSTEM reaches it.
package pgconf

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// Names of the files in the conf directory.
const (
	Main     = "postgresql.conf"
	HBA      = "pg_hba.conf"
	Ident    = "pg_ident.conf"
	Upstream = "upstream.conf" // included by Main: whom a standby streams from
	Waits    = "waits.conf"    // included by Main: whom commits wait for
)

// Input is all that the configuration depends on.
type Input struct {
	Major    int
	Settings settings.Settings

	Data, Conf, Keys, Socket, Bin string // directories

	// MemoryLimit in bytes; 0 means that there is none, and memory settings stay PostgreSQL's own.
	MemoryLimit int64
	// VolumeSize in bytes; 0 means unknown.
	VolumeSize int64
	// WALSegment in bytes; 0 means unknown: there is no database yet.
	WALSegment int64
	// Floor holds the values below which a standby refuses to replay (pg_controldata's). Nil for a start as primary.
	Floor map[string]int

	// From is whom a standby streams from; nil: nobody.
	From *grant.Upstream
	// Vote: an election waits for this standby to replay its WAL.
	Vote bool
	// Slot and SyncName are this member's on From.
	Slot, SyncName string
	// Sync is whom commits wait for; nil: nobody has said.
	Sync *grant.Sync
}

// Output is a rendered configuration.
type Output struct {
	// Files by name, for the conf directory.
	Files map[string][]byte
	// CommandLine are the arguments of postgres.
	CommandLine []string
	// Notes are sentences about values that were adapted.
	Notes []string
	// Raised are the settings that Floor has lifted.
	Raised []string
}

// Render writes the configuration. Problems are refusals in words for the user, all at once; there is no output then.
func Render(in Input) (out Output, problems []string) {
	fixed := fixedSettings(in)
	conf := defaults(in)
	user, problems := userSettings(in, fixed)
	maps.Copy(conf, user)
	conf["shared_preload_libraries"] = strings.Join(in.Settings.PostgreSQL.SharedPreloadLibraries, ",")
	hba, wrong := renderHBA(in.Settings)
	problems = append(problems, wrong...)
	ident, wrong := renderIdent(in.Settings)
	problems = append(problems, wrong...)
	raised, notes, wrong := raise(conf, in.Floor)
	problems = append(problems, wrong...)
	if len(problems) > 0 {
		slices.Sort(problems)
		return Output{}, problems
	}
	maps.Copy(conf, derivedSettings(in))
	return Output{
		Files: map[string][]byte{
			Main:     renderMain(conf),
			HBA:      hba,
			Ident:    ident,
			Upstream: renderUpstream(in),
			Waits:    renderWaits(in),
		},
		CommandLine: commandLine(in, fixed),
		Notes:       notes,
		Raised:      raised,
	}, nil
}

const header = `# Written by pgspan at every start; changes made here are lost. Values come from postgresql.* of the chart.
`

func renderMain(conf map[string]string) []byte {
	var b strings.Builder
	b.WriteString(header)
	for _, name := range slices.Sorted(maps.Keys(conf)) {
		fmt.Fprintf(&b, "%s = %s\n", name, Quote(conf[name]))
	}
	fmt.Fprintf(&b, "include %s\n", Quote(Upstream))
	fmt.Fprintf(&b, "include %s\n", Quote(Waits))
	return []byte(b.String())
}

// commandLine gives the data directory and what must not change, sorted.
func commandLine(in Input, fixed map[string]string) []string {
	args := []string{"-D", in.Data}
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		args = append(args, "-c", name+"="+fixed[name])
	}
	return args
}

// Quote writes a value for the lexer of configuration files: a quote is doubled and a backslash begins an escape. SQL's rules differ.
func Quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + "'"
}

func (in Input) conf(name string) string { return filepath.Join(in.Conf, name) }
func (in Input) key(name string) string  { return filepath.Join(in.Keys, name) }
