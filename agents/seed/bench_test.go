package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/basebackup"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

var (
	benchSizes  = flag.String("seed-sizes", "512,1024,2048,4096", "megabytes of data that BenchmarkSeed clones")
	benchRounds = flag.Int("seed-rounds", 5, "how often BenchmarkSeed clones each size in either way")
	benchDone   = flag.String("seed-done", "", "clones that were measured before and are left out: size/round/arm, with commas between")
	benchReport = flag.String("seed-report", "", "file to which each clone is written as a line of JSON, when it was measured")
)

// benchPatience bounds one clone.
const benchPatience = 20 * time.Minute

// BenchmarkSeed measures seed and plain pg_basebackup: the same leader, the same volume, TLS and all, in turns, each from the start of a
// container to its end. `make bench-seed` runs it, keeps what it measures in docs/bench, and fails where seed is slower than it should be
// (test/bench/seed).
func BenchmarkSeed(b *testing.B) {
	for b.Loop() {
		benchSeed(b)
	}
}

// clone is one that was measured.
type clone struct {
	Size      string  `json:"size"` // as asked for
	Round     int     `json:"round"`
	Arm       string  `json:"arm"`
	Megabytes float64 `json:"megabytes"` // what there was
	Seconds   float64 `json:"seconds"`
}

func (c clone) name() string { return fmt.Sprintf("%s/%d/%s", c.Size, c.Round, c.Arm) }

func benchSeed(b *testing.B) {
	root := pgtest.OpenRoot(b, 17)
	l := newLeader(b, 17, pgtest.WithSetting("max_wal_size", "4GB"))
	l.SQL(b, "CREATE TABLE ballast (t text)")
	seed := seedBinary(b, root)
	measure := map[string]func() float64{
		"plain": func() float64 { return l.timePlain(b) },
		"seed":  func() float64 { return l.timeSeed(b, seed) },
	}
	done := strings.Split(*benchDone, ",")
	for _, size := range strings.Split(*benchSizes, ",") {
		megabytes, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil {
			b.Fatal(err)
		}
		there := l.fill(b, megabytes)
		for round := range *benchRounds {
			// In turns, and each first as often as second, so that what else the machine does meets both.
			arms := []string{"plain", "seed"}
			if round%2 == 1 {
				slices.Reverse(arms)
			}
			for _, arm := range arms {
				c := clone{Size: strconv.Itoa(megabytes), Round: round + 1, Arm: arm, Megabytes: there}
				if slices.Contains(done, c.name()) {
					continue
				}
				c.Seconds = measure[arm]()
				tellClone(b, c)
			}
		}
	}
}

func tellClone(b *testing.B, c clone) {
	if *benchReport == "" {
		b.Logf("%.0f MB, round %d: %-5s %.2f s", c.Megabytes, c.Round, c.Arm, c.Seconds)
		return
	}
	line, err := json.Marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(*benchReport, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		b.Fatal(err)
	}
}

// fill brings the leader to about so many megabytes and returns what it has.
func (l *leader) fill(b *testing.B, megabytes int) float64 {
	size := func() float64 {
		mb, err := strconv.ParseFloat(l.SQL(b, "SELECT sum(pg_database_size(oid)) / 1048576.0 FROM pg_database"), 64)
		if err != nil {
			b.Fatal(err)
		}
		return mb
	}
	for size() < float64(megabytes) {
		l.SQL(b, "INSERT INTO ballast SELECT repeat(md5(i::text), 30) FROM generate_series(1, 100000) i")
	}
	l.SQL(b, "VACUUM ballast; CHECKPOINT")
	return size()
}

// timePlain is a clone by pg_basebackup alone, with the arguments that seed gives it.
func (l *leader) timePlain(b *testing.B) float64 {
	p := newPod(b, l.Root, "plain", l.TempDir(b))
	p.secret(l.bundle)
	defer makeRoom(b, p)
	syscall.Sync()
	began := time.Now()
	proc := p.Start(b, pgtest.Command{Path: "pg_basebackup", Args: []string{
		"--dbname=" + pgconf.Conninfo(*l.upstream(), p.at("tls"), basebackup.Name("plain")),
		"--pgdata=" + p.volume + "/pgdata", "--no-password", "--wal-method=stream", "--checkpoint=fast",
	}})
	if code := proc.Wait(b, benchPatience); code != 0 {
		b.Fatalf("pg_basebackup: exit status %d\n%s", code, proc.Stderr())
	}
	return time.Since(began).Seconds()
}

// timeSeed is a clone by seed, with everything that it does besides.
func (l *leader) timeSeed(b *testing.B, seed string) float64 {
	p := newPod(b, l.Root, "db-replica-0", l.TempDir(b))
	p.replica(l)
	defer makeRoom(b, p)
	syscall.Sync()
	began := time.Now()
	// As in a pod, what is derived lies in memory: a file there is not synced to the disk that is measured.
	proc := p.start(seed, "PGSPAN_LOG_LEVEL=info", "PGSPAN_CONF=/dev/shm/conf", "PGSPAN_KEYS=/dev/shm/keys")
	if code := proc.Wait(b, benchPatience); code != 0 {
		b.Fatalf("seed: exit status %d\n%s", code, proc.Stderr())
	}
	return time.Since(began).Seconds()
}

// makeRoom removes the clone, for the next one.
func makeRoom(b *testing.B, p *pod) {
	if err := os.RemoveAll(p.paths().Data()); err != nil {
		b.Fatal(err)
	}
}
