package renewal

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"
)

// memory keeps Secrets as the API does: a version that changes with every write, and a conflict when it is not the one read.
type memory struct {
	data   map[string]map[string][]byte
	before func() // runs between read and write
	writes int
}

var errConflict = errors.New("the Secret has changed")

func (m *memory) Secret(_ context.Context, name string) (map[string][]byte, string, error) {
	d, ok := m.data[name]
	if !ok {
		return nil, "", errors.New("no Secret " + name)
	}
	return maps.Clone(d), version(m.writes), nil
}

func (m *memory) ReplaceSecret(_ context.Context, name, v string, data map[string][]byte) error {
	if m.before != nil {
		m.before()
	}
	if v != version(m.writes) {
		return errConflict
	}
	m.writes++
	m.data[name] = data
	return nil
}

func version(n int) string { return string(rune('a' + n)) }

func made(t *testing.T, now time.Time) (*memory, sitecerts.Bundle) {
	t.Helper()
	spec := sitecerts.Spec{Sites: []sitecerts.Site{{Fullname: "db", Namespaces: []string{"ns"}, ClusterDomain: "cluster.local"}}}
	b, err := sitecerts.Generate(spec, now)
	if err != nil {
		t.Fatal(err)
	}
	return &memory{data: map[string]map[string][]byte{"db-tls": b.Shared(), "db-ca": b.CA()}}, b
}

func TestOnce(t *testing.T) {
	born := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	cases := map[string]struct {
		after   time.Duration
		spoil   func(*memory)
		renewed bool
		err     bool
	}{
		"young_certificates_stay":               {after: 100 * day},
		"two_thirds_are_over":                   {after: 250 * day, renewed: true},
		"they_have_expired_while_nobody_led":    {after: 400 * day, renewed: true},
		"a_pair_is_missing":                     {after: day, spoil: func(m *memory) { delete(m.data["db-tls"], "pooler.key") }, renewed: true},
		"the_ca_key_is_gone":                    {after: 250 * day, spoil: func(m *memory) { delete(m.data["db-ca"], "ca.key") }, err: true},
		"the_secret_is_gone":                    {after: 250 * day, spoil: func(m *memory) { delete(m.data, "db-tls") }, err: true},
		"somebody_else_renews_at_the_same_time": {after: 250 * day, spoil: func(m *memory) { m.before = func() { m.writes++ } }, err: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m, before := made(t, born)
			if c.spoil != nil {
				c.spoil(m)
			}
			now := born.Add(c.after)
			changes, err := Renewal{Secrets: m, Shared: "db-tls", CA: "db-ca"}.Once(t.Context(), now)
			if (err != nil) != c.err || (len(changes) > 0) != c.renewed {
				t.Fatalf("Once = %v, %v; want renewed %v, error %v", changes, err, c.renewed, c.err)
			}
			if !c.renewed {
				return
			}
			after := sitecerts.Bundle(m.data["db-tls"])
			if err := after.Check(now); err != nil {
				t.Errorf("what was written cannot be used: %v", err)
			}
			if bytes.Equal(after["server.crt"], before["server.crt"]) || !bytes.Equal(after["ca.crt"], before["ca.crt"]) {
				t.Error("want another server certificate by the same CA")
			}
			if _, there := after["ca.key"]; there {
				t.Error("the CA's key was written into the Secret that pods mount")
			}
		})
	}
}
