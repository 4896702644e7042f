// Package renewal issues the certificates of tls.mode generated anew before they end. The leader's keeper runs it: whoever leads,
// and only while it does. It changes the Secret alone; seed and guard of every member place what they find there.
package renewal

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"
)

// Secrets reads and replaces one Secret's data. Replace fails when somebody has changed the Secret since version was read; labels and
// annotations stay (without its annotation of names Helm would issue the certificates once more at the next upgrade).
type Secrets interface {
	Secret(ctx context.Context, name string) (data map[string][]byte, version string, err error)
	ReplaceSecret(ctx context.Context, name, version string, data map[string][]byte) error
}

// Renewal knows the two Secrets that the chart makes: the shared one and the one with the CA's key.
type Renewal struct {
	Secrets  Secrets
	Shared   string // ca.crt and all pairs; mounted into the pods
	CA       string // ca.crt and ca.key; mounted nowhere
	LeafLife time.Duration
	Log      *slog.Logger
}

// Once renews what is past two thirds of its life, missing or unusable, and returns what it changed. The names stay those of the
// present server certificate: which names there are is for the chart to say.
func (r Renewal) Once(ctx context.Context, now time.Time) ([]sitecerts.Change, error) {
	shared, version, err := r.Secrets.Secret(ctx, r.Shared)
	if err != nil {
		return nil, fmt.Errorf("renew certificates: %w", err)
	}
	ca, _, err := r.Secrets.Secret(ctx, r.CA)
	if err != nil {
		return nil, fmt.Errorf("renew certificates: %w", err)
	}
	bundle := sitecerts.Bundle{}
	for name, data := range shared {
		bundle[name] = data
	}
	bundle[sitecerts.CAKey] = ca[sitecerts.CAKey]
	spec, err := sitecerts.SameNames(bundle)
	if err != nil {
		return nil, fmt.Errorf("renew certificates: %w", err)
	}
	spec.LeafLife = r.LeafLife
	next, changes, err := sitecerts.RenewIfDue(bundle, spec, now)
	if err != nil {
		return nil, fmt.Errorf("renew certificates: %w", err)
	}
	if len(changes) == 0 {
		return nil, nil
	}
	if err := r.Secrets.ReplaceSecret(ctx, r.Shared, version, next.Shared()); err != nil {
		return nil, fmt.Errorf("renew certificates: %w", err)
	}
	return changes, nil
}

// Turn is Once for the keeper's loops: it renews while leads reports true, and says so in the log.
func (r Renewal) Turn(ctx context.Context, leads func() bool) error {
	if !leads() {
		return nil
	}
	changes, err := r.Once(ctx, time.Now())
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		words := make([]string, 0, len(changes))
		for _, c := range changes {
			words = append(words, c.String())
		}
		r.Log.Info("certificates were renewed", "reason", strings.Join(words, "; "))
	}
	return nil
}
