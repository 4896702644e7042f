package basebackup

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

// Steps as they are reported.
const (
	stepCheckpoint = "checkpoint" // the source writes a checkpoint first
	stepCopy       = "copy"
	stepSync       = "sync" // everything has arrived and is being written to disk
)

var progressLine = regexp.MustCompile(`^([0-9]+)/([0-9]+) kB \([0-9]+%\)`)

// window is how much of the past counts for the rate.
const window = 10 * time.Second

// meter turns what pg_basebackup prints into progress.
type meter struct {
	target string
	report func(grant.Progress)
	giveUp context.CancelCauseFunc

	mu     sync.Mutex
	now    grant.Progress
	past   []sample // the last window, oldest first
	moved  time.Time
	judged bool // whether there is room was looked at
}

type sample struct {
	at    time.Time
	bytes int64
}

func newMeter(target string, report func(grant.Progress), giveUp context.CancelCauseFunc) *meter {
	m := &meter{target: target, report: report, giveUp: giveUp, moved: time.Now(), now: grant.Progress{Step: stepCheckpoint}}
	return m
}

// line reads one line of pg_basebackup --progress --verbose.
func (m *meter) line(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch parts := progressLine.FindStringSubmatch(text); {
	case parts != nil:
		done, _ := strconv.ParseInt(parts[1], 10, 54) // 54 bits of kB are still an int64 of bytes
		total, _ := strconv.ParseInt(parts[2], 10, 54)
		m.advance(done<<10, total<<10, time.Now())
	case strings.Contains(text, "waiting for background process"), strings.Contains(text, "syncing data"):
		m.now.Step, m.now.PerSecond, m.now.SecondsETA = stepSync, 0, 0
	default:
		return
	}
	m.report(m.now)
}

func (m *meter) advance(done, total int64, at time.Time) {
	if done > m.now.Bytes || m.now.Step == stepCheckpoint {
		m.moved = at
	}
	// The total is an estimate: a database that grows while it is copied goes beyond it.
	m.now.Step, m.now.Bytes, m.now.Total, m.now.TotalKnown = stepCopy, done, max(total, done), true
	m.past = append(m.past, sample{at, done})
	for len(m.past) > 2 && at.Sub(m.past[1].at) >= window {
		m.past = m.past[1:]
	}
	m.now.PerSecond, m.now.SecondsETA = rate(m.past, m.now.Total)
	if !m.judged {
		m.judged = true
		m.judge()
	}
}

// rate is bytes per second over the samples and the seconds left at that rate; zero when it cannot be said.
func rate(past []sample, total int64) (perSecond, left float64) {
	first, last := past[0], past[len(past)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 || last.bytes <= first.bytes {
		return 0, 0
	}
	perSecond = float64(last.bytes-first.bytes) / seconds
	return perSecond, float64(total-last.bytes) / perSecond
}

// judge gives up a copy that cannot fit, before it has filled the volume.
func (m *meter) judge() {
	var fs unix.Statfs_t
	if unix.Statfs(filepath.Dir(m.target), &fs) != nil {
		return // not known: the copy itself will tell
	}
	if free := int64(fs.Bavail) * fs.Bsize; m.now.Total-m.now.Bytes > free {
		m.giveUp(fmt.Errorf("the volume has %d MB free and the copy needs %d MB and its WAL: enlarge the PersistentVolumeClaim", free>>20, m.now.Total>>20))
	}
}

// watch gives up when nothing arrives for as long as stall. While the copy is written to disk nothing arrives either.
func (m *meter) watch(ctx context.Context, stall time.Duration) {
	tick := time.NewTicker(min(stall/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.mu.Lock()
		stalled := m.now.Step != stepSync && time.Since(m.moved) > stall
		bytes := m.now.Bytes
		m.mu.Unlock()
		if stalled {
			m.giveUp(fmt.Errorf("%w (%v, after %d bytes)", ErrStalled, stall, bytes))
			return
		}
	}
}

// finish reports the end.
func (m *meter) finish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Step, m.now.Bytes, m.now.PerSecond, m.now.SecondsETA = stepSync, max(m.now.Bytes, m.now.Total), 0, 0
	m.report(m.now)
}
