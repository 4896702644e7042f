// Package layout names the places inside a database pod. The chart mounts them, the agents read and write them; nobody else
// spells these paths. Each has one owner (ARCHITECTURE.md, "Places in a pod").
package layout

import "path/filepath"

// Default mount points. Every one can be moved by an environment variable of the agents (tests do), the names below them cannot.
const (
	Bin      = "/pgspan/bin"      // memory: static binaries and a passwd file, copied by the init container "agents"
	Control  = "/pgspan/control"  // memory, 1 MiB: grant (keeper writes) and state (seed and guard write)
	Conf     = "/pgspan/conf"     // memory: postgresql.conf, pg_hba.conf, pg_ident.conf, derived at every start
	Keys     = "/pgspan/keys"     // memory: keys and certificates as PostgreSQL and libpq accept them
	Socket   = "/pgspan/socket"   // memory: the server's Unix socket, shared with keeper only
	Settings = "/pgspan/settings" // ConfigMap: settings.yaml, what the chart says about this database
	TLS      = "/pgspan/tls"      // Secret: certificates and keys as mounted by Kubernetes
	Volume   = "/var/lib/pgspan"  // the persistent volume
)

// Paths below the volume.
type Paths struct{ root string }

// In returns the paths of the volume mounted at root.
func In(root string) Paths { return Paths{root} }

// Root is the mount point itself.
func (p Paths) Root() string { return p.root }

// Data is PostgreSQL's data directory. It is a subdirectory because fsGroup changes the mode of the mount point (T-80).
func (p Paths) Data() string { return filepath.Join(p.root, "pgdata") }

// NewData is where initdb and base backups are made; it becomes Data by a rename when it is complete.
func (p Paths) NewData() string { return filepath.Join(p.root, "pgdata.new") }

// OldData is where a data directory waits that is being replaced, from when it gives way until it is removed.
func (p Paths) OldData() string { return filepath.Join(p.root, "pgdata.old") }

// Notes holds what must outlive a pod: identity, journal, history, data set aside.
func (p Paths) Notes() string { return filepath.Join(p.root, "notes") }

// Lock is the file whose flock says that some process tree owns the volume (SAFETY D11).
func (p Paths) Lock() string { return filepath.Join(p.Notes(), "lock") }

// Journal names the destructive step under way, if any (SAFETY D22).
func (p Paths) Journal() string { return filepath.Join(p.Notes(), "journal") }

// Member is the note of which volume this is and which epoch and timeline it has been primary in.
func (p Paths) Member() string { return filepath.Join(p.Notes(), "member.json") }
