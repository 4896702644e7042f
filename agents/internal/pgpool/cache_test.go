package pgpool

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func testCache(t *testing.T, c *cluster) {
	c.primary.SQL(t, "CREATE TABLE cached (n int); INSERT INTO cached VALUES (1); GRANT ALL ON cached TO PUBLIC")
	c.standby.WaitSQL(t, "SELECT count(*) FROM pg_class WHERE relname = 'cached'", "1")
	since := time.Now()
	p := startPooler(t, c, func(config *Config) { config.Cache = &Cache{ExpireSeconds: 600} })
	read := func() string {
		t.Helper()
		return mustAsk(t, p.connect(t, "app"), "SELECT n::text FROM cached", pgx.QueryExecModeSimpleProtocol)
	}
	if got := read(); got != "1" {
		t.Fatalf("read %s, want 1", got)
	}
	// Past pgpool: it cannot know, and what is seen from here on is the cache.
	c.primary.SQL(t, "UPDATE cached SET n = 2")
	c.standby.WaitSQL(t, "SELECT n FROM cached", "2")
	if got := read(); got != "1" {
		t.Fatalf("read %s: the cache is not used", got)
	}
	writer := p.connect(t, "app")
	mustExecute(t, writer, "UPDATE cached SET n = 3", pgx.QueryExecModeSimpleProtocol)
	c.standby.WaitSQL(t, "SELECT n FROM cached", "3")
	if got := read(); got != "3" {
		t.Errorf("read %s after 3 was written through pgpool", got)
	}
	if files := written(t, p.root, since, "/run", "/var", "/etc", "/tmp"); len(files) > 0 {
		t.Errorf("written outside of the mounted places: %v", files)
	}
}
