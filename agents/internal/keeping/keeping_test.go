package keeping

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/lease"
	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/publish"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/volumelock"
	sitecerts "github.com/pgspan/pgspan/tls"
)

func TestNewsBelongsToItsEpoch(t *testing.T) {
	list := []record.Member{{ID: "pvc-a"}}
	base := func() record.Record {
		return record.Record{Epoch: at(3), LSN: 1, Bootstrap: &record.Bootstrap{Member: "pvc-a", Statements: 1}}
	}
	r := base()
	news{epoch: at(2), lsn: 9, systemID: "7", members: list, done: true}.apply(&r)
	if want := base(); !reflect.DeepEqual(r, want) {
		t.Errorf("another epoch's news: got %+v", r)
	}
	r = base()
	news{epoch: at(3), lsn: 9, systemID: "7", members: list, statements: 2}.apply(&r)
	if r.LSN != 9 || r.SystemID != "7" || len(r.Members) != 1 || r.Bootstrap.Statements != 2 {
		t.Errorf("got %+v", r)
	}
	news{epoch: at(3), systemID: "8", statements: 1}.apply(&r)
	if r.SystemID != "7" || r.LSN != 9 || r.Bootstrap.Statements != 2 {
		t.Errorf("a system id never changes, a count never falls: got %+v", r)
	}
	r = base()
	if news.apply(news{epoch: at(3), done: true}, &r); r.Bootstrap == nil {
		t.Error("the claim was given up before the database had a system id")
	}
	if news.apply(news{epoch: at(3), done: true, systemID: "7"}, &r); r.Bootstrap != nil {
		t.Error("the claim stays")
	}
}

func TestPanicEndsOneTurnAndIsCounted(t *testing.T) {
	var out strings.Builder
	l := newLoops(slog.New(slog.NewTextHandler(&out, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	turns := 0
	l.run(ctx, "x", always(0), nil, func(context.Context) error {
		switch turns++; turns {
		case 1, 2:
			panic("odd")
		case 3, 4:
			return errors.New("no")
		case 6:
			cancel()
		}
		return nil
	})
	if got := l.all()["x"]; got.Panics != 2 || got.Failures != 4 {
		t.Errorf("got %+v, want 2 panics among 4 failures", got)
	}
	for what, want := range map[string]int{"loop panicked": 2, "turn failed": 1, "works again": 1} { // the stacks differ, the errors do not
		if got := strings.Count(out.String(), what); got < 1 || got > want {
			t.Errorf("%q: said %d times, want 1 to %d", what, got, want)
		}
	}
	if l.age("x") > time.Minute || l.age("never") != 0 {
		t.Errorf("ages: %v %v", l.age("x"), l.age("never"))
	}
}

func TestHeldLockIsNoProof(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	free, err := holdLock(path)
	if err != nil {
		t.Fatalf("never made: %v", err)
	}
	free()
	l, err := volumelock.Try(path, volumelock.Holder{Pod: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holdLock(path); !errors.Is(err, errHeld) {
		t.Errorf("held: got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	free, err = holdLock(path)
	if err != nil {
		t.Fatal(err)
	}
	var held *volumelock.HeldError
	if _, err := volumelock.Try(path, volumelock.Holder{Pod: "b"}); !errors.As(err, &held) {
		t.Errorf("guard took the lock while a release was under way: %v", err)
	}
	free()
	if l, err = volumelock.Try(path, volumelock.Holder{Pod: "b"}); err != nil {
		t.Errorf("after the release: %v", err)
	} else {
		_ = l.Close()
	}
	if _, err := holdLock(filepath.Join(path, "not-a-directory")); err == nil || errors.Is(err, errHeld) {
		t.Errorf("cannot be found out: got %v", err)
	}
}

func TestCertificateDays(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	if days, err := certificateDays(dir, now); err != nil || days != nil {
		t.Errorf("none: got %v, %v", days, err)
	}
	bundle, err := sitecerts.Generate(sitecerts.Spec{ExtraNames: []string{"a"}, LeafLife: 48 * time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range bundle {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	days, err := certificateDays(dir, now)
	if err != nil || days["server"] < 1.9 || days["server"] > 2.1 || days["ca"] < 1000 {
		t.Errorf("got %v, %v", days, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.crt"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	days, err = certificateDays(dir, now)
	if _, known := days["server"]; err == nil || known || days["ca"] < 1000 {
		t.Errorf("unreadable: got %v, %v", days, err)
	}
}

func TestRates(t *testing.T) {
	at := func(l lsn.LSN) *lsn.LSN { return &l }
	var r rates
	now := boottime.Instant(1)
	if got := r.add(now, at(0)); got != nil {
		t.Errorf("one sample: got %v", *got)
	}
	if got := r.add(now.Add(10*time.Second), at(1000)); got == nil || *got != 100 {
		t.Errorf("got %v, want 100", got)
	}
	if got := r.add(now.Add(11*time.Second), at(9000)); got != nil {
		t.Errorf("too soon: got %v", *got)
	}
	if got := r.add(now.Add(20*time.Second), nil); got != nil {
		t.Errorf("unknown position: got %v", *got)
	}
	if got := r.add(now.Add(20*time.Second), at(500)); got != nil {
		t.Errorf("went back: got %v", *got)
	}
}

func TestOthers(t *testing.T) {
	claim := func(name, uid, id string) kube.Claim {
		c := kube.Claim{Object: kube.Object{Name: name, UID: uid, Annotations: map[string]string{}}}
		if id != "" {
			c.Annotations = map[string]string{publish.AnnotationSystemID: id, publish.AnnotationEpoch: "1.4", publish.AnnotationTimeline: "5"}
		}
		return c
	}
	pod := func(name, volume string) kube.Pod {
		return kube.Pod{Object: kube.Object{Name: name, Annotations: map[string]string{publish.AnnotationVolume: volume}}}
	}
	o := othersOf([]kube.Pod{pod("a-0", volumeData), pod("a-1", volumeEmpty), pod("a-2", "")}, []kube.Claim{claim("data-a-0", "u0", "7"), claim("data-a-1", "u1", "")})
	if !o.Known || !reflect.DeepEqual(o.WithData, []string{"a-0"}) || !reflect.DeepEqual(o.Empty, []string{"a-1"}) || len(o.Volumes) != 2 {
		t.Fatalf("got %+v", o)
	}
	if v := o.Volumes[0]; v.Pod != "a-0" || v.Member != "u0" || v.SystemID != "7" || v.Epoch.Local != 4 || v.Timeline != 5 {
		t.Errorf("got %+v", v)
	}
	if v := o.Volumes[1]; v.SystemID != "" || !v.Epoch.IsZero() {
		t.Errorf("unmarked: got %+v", v)
	}
}

func TestServiceForWritingLeadsHereOnlyUnderTheLeaseOfThatEpochAndDatabase(t *testing.T) {
	w := publish.Writer{SystemID: "7", Epoch: at(3)}
	of := func(id string) lease.View {
		v := holding(3, start.Add(time.Second))
		v.Record.SystemID = id
		return v
	}
	for name, c := range map[string]struct {
		view lease.View
		want bool
	}{
		"in_force":                     {of("7"), true},
		"database_not_recorded_yet":    {of(""), true},
		"another_database_is_recorded": {of("8"), false},
		"another_epoch":                {holding(4, start.Add(time.Second)), false},
		"ran_out":                      {holding(3, start), false},
		"never_known":                  {lease.View{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := leads(c.view, w, start); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
