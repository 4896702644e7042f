package pg

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

func TestProbe(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) { t.Parallel(); testProbe(t, major) })
	}
}

func testProbe(t *testing.T, major int) {
	primary := pgtest.New(t, major, pgtest.WithTLS(), pgtest.WithHBA("local all,replication all trust", "hostssl all postgres all trust", "host replication all all trust"))
	primary.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	remote := func(s *pgtest.Server) Remote {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(s.CA)
		return Remote{Host: "localhost", Address: s.Host, Port: s.Port, User: "postgres", TLS: &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}}
	}
	r := remote(primary)

	flushed := func() lsn.LSN {
		l, err := lsn.Parse(strings.TrimSpace(primary.SQL(t, "SELECT pg_current_wal_flush_lsn()")))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	tables := primary.SQL(t, "SELECT count(*), max(oid) FROM pg_class")
	before := flushed()
	who, err := r.Write(ctx)
	if err != nil || who.InRecovery || who.Server != primary.Host || who.SystemID == "" {
		t.Fatalf("got %+v, %v", who, err)
	}
	// It was on the disk before it was acknowledged, and costs little.
	if d := flushed().Sub(before); d < 50 || d > 16<<10 {
		t.Errorf("the write took %d bytes of WAL", d)
	}
	if after := primary.SQL(t, "SELECT count(*), max(oid) FROM pg_class"); after != tables {
		t.Errorf("the write left something: %s, before %s", after, tables)
	}

	standby := primary.BaseBackup(t, pgtest.WithTLS(), pgtest.WithHBA("local all all trust", "hostssl all postgres all trust"))
	standby.Start(t)
	s := remote(standby)
	if who, err := s.Identify(ctx); err != nil || !who.InRecovery {
		t.Errorf("standby: got %+v, %v", who, err)
	}
	if _, err := s.Write(ctx); err == nil {
		t.Error("a standby took a write")
	}
	strange := r
	strange.TLS = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
	if _, err := strange.Write(ctx); err == nil {
		t.Error("a server that cannot prove its name was written to")
	}
}
