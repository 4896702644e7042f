package keeping

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/publish"
	"github.com/pgspan/pgspan/agents/internal/secondline"
)

// Each failed write may leave a session in a server that hangs: an hour of them must not use up the connections.
func TestWritesThatFailAreTriedLessAndLessOften(t *testing.T) {
	var s secondLine
	now, tried := start, 0
	for end := start.Add(time.Hour); now < end; now = now.Add(time.Second) {
		if now >= s.writeAt {
			tried++
			s.noteWrite(now, secondline.Write{Tried: true, Err: errors.New("no answer")})
		}
	}
	if tried < 12 || tried > 25 {
		t.Errorf("%d writes were tried in an hour", tried)
	}
	s.noteWrite(now, secondline.Write{Tried: true})
	if s.failed != 0 || now < s.writeAt {
		t.Errorf("after one that succeeded: %d failed, next not before %d", s.failed, s.writeAt)
	}
}

func TestAlarmIsToldEachRoundAndOverOnce(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	k := &Keeper{log: log, events: publish.NewEvents("p-0", "u", log)}
	var s secondLine
	for range 3 {
		k.tellSecondLine(&s, secondline.Verdict{Known: true, TwoWriters: "so does r-0"})
	}
	k.tellSecondLine(&s, secondline.Verdict{Known: true})
	k.tellSecondLine(&s, secondline.Verdict{Known: true})
	if got := strings.Count(out.String(), "level=ERROR"); got != 3 {
		t.Errorf("%d errors in the log, want one each round:\n%s", got, out.String())
	}
	if got := strings.Count(out.String(), "second line of defence: over"); got != 1 {
		t.Errorf("its end was told %d times:\n%s", got, out.String())
	}
}
