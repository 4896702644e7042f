package pgpool

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pgspan/pgspan/agents/internal/keys"
)

// keyring is the certificates: pgpool's own, and those that servers are trusted by.
type keyring struct {
	src, dst string
	config   atomic.Pointer[tls.Config]
}

// place puts the mounted keys where pgpool accepts them. After an error those of before are still in place, if there are any.
func (k *keyring) place() error {
	if _, err := keys.Place(k.src, k.dst, keys.Pooler(), time.Now()); err != nil {
		return err
	}
	set, err := keys.Read(k.dst, keys.Pooler(), time.Now())
	if err != nil {
		return fmt.Errorf("read placed keys: %w", err)
	}
	if last := k.config.Load(); last == nil || !last.RootCAs.Equal(set.Roots()) {
		// Records of full size from the start: what is written here has waited in pgpool already.
		k.config.Store(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: set.Roots(), DynamicRecordSizingDisabled: true})
	}
	return nil
}

// trust is what connections to servers are verified with.
func (k *keyring) trust() *tls.Config { return k.config.Load() }

// served is what pgpool shows its clients: it reads it once, at its start.
func (k *keyring) served() ([]byte, error) {
	cert, certErr := os.ReadFile(filepath.Join(k.dst, "server.crt"))
	key, keyErr := os.ReadFile(filepath.Join(k.dst, "server.key"))
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("read the server's certificate: %w", err)
	}
	return bytes.Join([][]byte{cert, key}, nil), nil
}
