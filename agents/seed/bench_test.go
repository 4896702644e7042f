package main

import (
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
)

// benchPatience bounds one clone.
const benchPatience = 20 * time.Minute

// BenchmarkSeed compares seed with plain pg_basebackup: the same leader, the same volume, TLS and all, in turns, each from the start of a
// container to its end. It fails where seed has less than 0.95 of the speed, or where its time is not a + b·size.
//
//	go test ./agents/seed -run '^$' -bench Seed -benchtime 1x -timeout 2h
func BenchmarkSeed(b *testing.B) {
	for b.Loop() {
		benchSeed(b)
	}
}

func benchSeed(b *testing.B) {
	root := pgtest.OpenRoot(b, 17)
	l := newLeader(b, 17, pgtest.WithSetting("max_wal_size", "4GB"))
	l.SQL(b, "CREATE TABLE ballast (t text)")
	seed := seedBinary(b, root)
	var sizes, times []float64
	worst := 0.0
	b.Logf("%8s %12s %12s %8s", "MB", "plain s", "seed s", "ratio")
	for _, text := range strings.Split(*benchSizes, ",") {
		megabytes, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			b.Fatal(err)
		}
		size := l.fill(b, megabytes)
		var plain, ours []float64
		for round := range *benchRounds {
			// In turns, and each first as often as second, so that what else the machine does meets both.
			if round%2 == 0 {
				plain = append(plain, l.timePlain(b))
				ours = append(ours, l.timeSeed(b, seed))
			} else {
				ours = append(ours, l.timeSeed(b, seed))
				plain = append(plain, l.timePlain(b))
			}
		}
		ratio := median(quotients(plain, ours))
		if worst == 0 || ratio < worst {
			worst = ratio
		}
		b.Logf("%8.0f %12.2f %12.2f %8.3f   plain %.2f   seed %.2f", size, median(plain), median(ours), ratio, plain, ours)
		sizes, times = append(sizes, size), append(times, slices.Min(ours)) // the least disturbed one
	}
	b.ReportMetric(worst, "speed-of-plain")
	if worst < 0.95 {
		b.Errorf("seed has %.3f of the speed of pg_basebackup, want 0.95 or more", worst)
	}
	if len(sizes) < 3 {
		return // any line goes through two points
	}
	a, slope, r2 := fit(sizes, times)
	b.Logf("seconds = %.2f + %.5f * MB, R² = %.4f", a, slope, r2)
	b.ReportMetric(r2, "R²")
	if r2 < 0.98 {
		b.Errorf("time is not linear in size: R² is %.4f, want 0.98 or more", r2)
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

// quotients are those of neighbours in time, which had the same weather.
func quotients(of, by []float64) []float64 {
	var q []float64
	for i := range of {
		q = append(q, of[i]/by[i])
	}
	return q
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// fit is the line of least squares through the points, and how much of their spread it explains.
func fit(x, y []float64) (a, b, r2 float64) {
	n := float64(len(x))
	var sx, sy, sxx, sxy, syy float64
	for i := range x {
		sx, sy, sxx, sxy, syy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i], syy+y[i]*y[i]
	}
	b = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	a = (sy - b*sx) / n
	r2 = (n*sxy - sx*sy) * (n*sxy - sx*sy) / ((n*sxx - sx*sx) * (n*syy - sy*sy))
	return a, b, r2
}

func TestFit(t *testing.T) {
	a, b, r2 := fit([]float64{1, 2, 4}, []float64{5, 7, 11})
	if got := fmt.Sprintf("%.3f %.3f %.3f", a, b, r2); got != "3.000 2.000 1.000" {
		t.Errorf("got %s, want 3 2 1", got)
	}
	if _, _, r2 := fit([]float64{1, 2, 3, 4}, []float64{1, 9, 1, 9}); r2 > 0.5 {
		t.Errorf("noise has R² %.2f", r2)
	}
}
