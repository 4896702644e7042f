// Package settings reads what the chart says about a database: one file, settings.yaml, in a ConfigMap mounted into every agent.
// It holds nothing secret. Keys of a newer chart are left out and told (Ignored), so that agents go on through an upgrade.
package settings

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"sigs.k8s.io/yaml"
)

// File is the name of the settings file inside its mounted directory.
const File = "settings.yaml"

// Settings is the whole file.
type Settings struct {
	// Release is the chart's full name: Lease, Services and the record are called after it.
	Release string `json:"release"`
	// Site is this Kubernetes cluster's name in the list of sites; empty with a single unnamed site.
	Site string `json:"site,omitempty"`
	// ClusterDomain is the DNS domain of the Kubernetes cluster, without dots at the ends.
	ClusterDomain string `json:"clusterDomain"`
	// Major is PostgreSQL's major version as the chart was told; a server of another major is refused.
	Major      int        `json:"major"`
	Port       int        `json:"port"`
	PostgreSQL PostgreSQL `json:"postgresql"`
	// Databases and Users are made by the leader when they are missing and kept in step.
	Databases map[string]Database `json:"databases,omitempty"`
	Users     map[string]User     `json:"users,omitempty"`
	// Passwords are where they lie: user → Secret. postgres is one of them with SuperuserTCP.
	Passwords map[string]Secret `json:"passwords,omitempty"`
	// SuperuserTCP says that the role postgres may log in over TCP (TLS and password); off by default.
	SuperuserTCP bool `json:"superuserTCP,omitempty"`
	// Members is what the chart expects: how many pods of either set.
	Members Members `json:"members"`
	// VolumeSize is what each member's volume is to have at least, as a Kubernetes quantity. Empty: nobody asks for growth.
	VolumeSize string `json:"volumeSize,omitempty"`
	// Failover limits what members do by themselves when the leader is gone.
	Failover Failover `json:"failover"`
	// Synchronous says whether commits wait for other members.
	Synchronous Synchronous `json:"synchronous,omitzero"`
	// Bootstrap is a person's word for when there is data and no record.
	Bootstrap Bootstrap `json:"bootstrap,omitzero"`

	// Fingerprint names the settings that were read, so that two members can tell whether they go by the same ones: the name that the chart gave
	// them, or a digest of the text.
	Fingerprint string `json:"-"`
	// Ignored says what of the file these agents do not know; empty: they know all of it.
	Ignored string `json:"-"`
}

// Bootstrap says whose data becomes the database when the record of who leads is lost.
type Bootstrap struct {
	// Adopt is <pod>@<epoch>; empty: nobody has said.
	Adopt string `json:"adopt,omitempty"`
}

// PostgreSQL holds the server's settings below the user's key of the same name.
type PostgreSQL struct {
	Parameters             map[string]string `json:"parameters,omitempty"`
	HBA                    []string          `json:"hba,omitempty"`
	Ident                  []string          `json:"ident,omitempty"`
	SharedPreloadLibraries []string          `json:"sharedPreloadLibraries,omitempty"`
	// InitSQL runs once, in the database postgres, when the database was created by initdb.
	InitSQL []string `json:"initSQL,omitempty"`
	Initdb  Initdb   `json:"initdb"`
	// AllowCollationChange lets data start under a C library or ICU of another version than it was written with (SAFETY D28).
	AllowCollationChange bool `json:"allowCollationChange,omitempty"`
	// BinDir is where the server's programs lie, when they cannot be found by PATH, pg_config or known layouts.
	BinDir string `json:"binDir,omitempty"`
}

// Initdb acts on an empty volume only.
type Initdb struct {
	Encoding       string `json:"encoding,omitempty"`       // default UTF8
	Locale         string `json:"locale,omitempty"`         // default C.UTF-8
	LocaleProvider string `json:"localeProvider,omitempty"` // builtin (17 and newer), libc, icu
	ICULocale      string `json:"icuLocale,omitempty"`
	NoChecksums    bool   `json:"noChecksums,omitempty"`
	WALSegmentMB   int    `json:"walSegmentMB,omitempty"`
}

// Database is one database of the user.
type Database struct {
	Owner      string   `json:"owner"`
	Extensions []string `json:"extensions,omitempty"`
}

// User is one login role of the user. Its password lies in the Secret that Passwords names.
type User struct {
	// Options are attributes such as CREATEDB; SUPERUSER, REPLICATION and BYPASSRLS are refused.
	Options []string `json:"options,omitempty"`
	// MemberOf are roles granted to it.
	MemberOf []string `json:"memberOf,omitempty"`
	// ConnectionLimit is -1 for none.
	ConnectionLimit *int `json:"connectionLimit,omitempty"`
}

// Secret is a key of a Secret in the release's namespace.
type Secret struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// Members counts the pods of the two sets.
type Members struct {
	Primary  int `json:"primary"`
	Replicas int `json:"replicas"`
}

// ErrWrong says that the settings were read and make no sense; other errors mean that they could not be read.
var ErrWrong = errors.New("settings.yaml is wrong")

// Read returns the settings in dir.
func Read(dir string) (Settings, error) {
	b, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		return Settings{}, unread(err)
	}
	return Parse(b)
}

func unread(err error) error { return fmt.Errorf("read settings: %w", err) }

// named is the first line of the file, by which the chart gives it a name. A comment, so that agents of every release read the rest.
var named = regexp.MustCompile(`^# name: ([0-9a-f]{16})\s`)

func fingerprint(b []byte) string {
	if name := named.FindSubmatch(b); name != nil {
		return string(name[1])
	}
	sum := sha256.Sum256(bytes.TrimSpace(b))
	return hex.EncodeToString(sum[:8])
}

// Parse reads the file's text and fills in the defaults.
func Parse(b []byte) (Settings, error) {
	s := Settings{Fingerprint: fingerprint(b)}
	if err := yaml.Unmarshal(b, &s); err != nil {
		return Settings{}, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	// The file is live, the agents are as old as their pod: after an upgrade it may say what these do not know, and a server that has crashed
	// must be started again all the same. What a person mistypes the chart's schema refuses.
	if err := yaml.UnmarshalStrict(b, &Settings{}); err != nil {
		s.Ignored = err.Error()
	}
	if s.Port == 0 {
		s.Port = 5432
	}
	if err := s.Failover.validate(); err != nil {
		return Settings{}, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	if err := s.Synchronous.validate(); err != nil {
		return Settings{}, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	if s.ClusterDomain == "" {
		s.ClusterDomain = "cluster.local"
	}
	if s.Release == "" {
		return Settings{}, fmt.Errorf("%w: release is empty", ErrWrong)
	}
	return s, nil
}
