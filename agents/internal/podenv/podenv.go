// Package podenv reads what a database pod is told about itself: where its volumes are mounted and who it is. seed and guard embed
// Pod in the structs of their own variables.
package podenv

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/layout"
	"github.com/pgspan/pgspan/agents/internal/postdock"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
)

// Pod is read by envconfig with an empty prefix, so that every name can be found by searching for it.
type Pod struct {
	Bin      string `envconfig:"PGSPAN_BIN" default:"/pgspan/bin" desc:"programs and passwd file copied by the init container agents"`
	Control  string `envconfig:"PGSPAN_CONTROL" default:"/pgspan/control" desc:"grant and state"`
	Conf     string `envconfig:"PGSPAN_CONF" default:"/pgspan/conf" desc:"the server's derived configuration"`
	Keys     string `envconfig:"PGSPAN_KEYS" default:"/pgspan/keys" desc:"keys and certificates as PostgreSQL accepts them"`
	Socket   string `envconfig:"PGSPAN_SOCKET" default:"/pgspan/socket" desc:"the server's Unix socket"`
	Settings string `envconfig:"PGSPAN_SETTINGS" default:"/pgspan/settings" desc:"mounted ConfigMap with settings.yaml"`
	TLS      string `envconfig:"PGSPAN_TLS" default:"/pgspan/tls" desc:"mounted Secret with keys and certificates"`
	Volume   string `envconfig:"PGSPAN_VOLUME" default:"/var/lib/pgspan" desc:"the persistent volume"`

	PodName   string `envconfig:"PGSPAN_POD_NAME" desc:"metadata.name"`
	PodUID    string `envconfig:"PGSPAN_POD_UID" desc:"metadata.uid"`
	PodIP     string `envconfig:"PGSPAN_POD_IP" desc:"status.podIP"`
	Namespace string `envconfig:"PGSPAN_NAMESPACE" desc:"metadata.namespace"`
	Node      string `envconfig:"PGSPAN_NODE" desc:"spec.nodeName"`

	MemoryLimit Size   `envconfig:"PGSPAN_MEMORY_LIMIT" desc:"the server container's memory limit; unset means none"`
	BornAs      string `envconfig:"PGSPAN_BORN_AS" default:"replica" desc:"primary or replica: what an empty volume becomes"`

	CloneMaxRate Size          `envconfig:"PGSPAN_CLONE_MAX_RATE" desc:"upper limit of a base backup in bytes per second; unset means none"`
	CloneStall   time.Duration `envconfig:"PGSPAN_CLONE_STALL" default:"10m" desc:"a base backup that grows by nothing for so long is begun again"`

	Standalone bool `envconfig:"PGSPAN_STANDALONE" desc:"there is no keeper: be a replica of PostDock's REPLICATION_PRIMARY_HOST"`
	// PostDock is the input layer for those who come from there.
	PostDock postdock.Env
}

// Paths are the places on the volume.
func (p Pod) Paths() layout.Paths { return layout.In(p.Volume) }

// Holder is how this pod signs the volume's lock.
func (p Pod) Holder(program string) volumelock.Holder {
	return volumelock.Holder{Pod: p.PodName, UID: p.PodUID, Node: p.Node, Program: program}
}

// Incarnation is this pod's life as far as it can be known inside the pod: the member comes from the grant.
func (p Pod) Incarnation(boot string) grant.Incarnation {
	return grant.Incarnation{Pod: p.PodUID, Boot: boot}
}

// pg_basebackup takes 32 kB/s to 1 GB/s.
const leastRate, mostRate = 32 << 10, 1 << 30

// Validate returns every problem, in words for who wrote the manifest.
func (p Pod) Validate() []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for name, path := range map[string]string{
		"PGSPAN_BIN": p.Bin, "PGSPAN_CONTROL": p.Control, "PGSPAN_CONF": p.Conf, "PGSPAN_KEYS": p.Keys, "PGSPAN_SOCKET": p.Socket,
		"PGSPAN_SETTINGS": p.Settings, "PGSPAN_TLS": p.TLS, "PGSPAN_VOLUME": p.Volume,
	} {
		if !filepath.IsAbs(path) {
			complain("%s is %q: want an absolute path", name, path)
		}
	}
	// A path of a Unix socket has 107 bytes; the server appends "/.s.PGSQL.65535".
	if len(p.Socket) > 107-len("/.s.PGSQL.65535") {
		complain("PGSPAN_SOCKET is %d bytes long: a Unix socket's directory may have %d", len(p.Socket), 107-len("/.s.PGSQL.65535"))
	}
	for name, value := range map[string]string{"PGSPAN_POD_NAME": p.PodName, "PGSPAN_POD_UID": p.PodUID} {
		if value == "" {
			complain("%s is not set: it comes from the pod's metadata by the downward API", name)
		}
	}
	if p.BornAs != "primary" && p.BornAs != "replica" {
		complain("PGSPAN_BORN_AS is %q: want primary or replica", p.BornAs)
	}
	if p.MemoryLimit < 0 {
		complain("PGSPAN_MEMORY_LIMIT is negative")
	}
	if p.CloneMaxRate != 0 && (p.CloneMaxRate < leastRate || p.CloneMaxRate > mostRate) {
		complain("PGSPAN_CLONE_MAX_RATE is %d bytes per second: want %d to %d", p.CloneMaxRate, leastRate, mostRate)
	}
	if p.CloneStall < time.Second {
		complain("PGSPAN_CLONE_STALL is %v: want a second or more", p.CloneStall)
	}
	return problems
}

// Size is a number of bytes.
type Size int64

var size = regexp.MustCompile(`^([0-9]+)(k|M|G|T|Ki|Mi|Gi|Ti)?$`)

var units = map[string]int64{
	"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}

// Decode reads bytes, with one of Kubernetes' suffixes if wanted. An empty text is zero. It is what envconfig calls.
func (s *Size) Decode(text string) error {
	text = strings.TrimSpace(text)
	if text == "" {
		*s = 0
		return nil
	}
	parts := size.FindStringSubmatch(text)
	if parts == nil {
		return fmt.Errorf("size %q: want a number of bytes, or one with k, M, G, T, Ki, Mi, Gi or Ti", text)
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return fmt.Errorf("size %q: %w", text, err)
	}
	unit := units[parts[2]]
	if n > (1<<63-1)/unit {
		return fmt.Errorf("size %q: too large", text)
	}
	*s = Size(n * unit)
	return nil
}
