package guarding

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/fence"
	"github.com/pgspan/pgspan/agents/internal/grant"
)

var me = grant.Incarnation{Member: "volume-1", Pod: "pod-1", Boot: "boot-1"}

func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		grant  grant.Grant
		seen   uint64
		want   bool
		reason string
	}{
		{"first", grant.Grant{Holder: me, Seq: 1}, 0, true, ""},
		{"next", grant.Grant{Holder: me, Seq: 9}, 8, true, ""},
		{"same_again", grant.Grant{Holder: me, Seq: 8}, 8, true, ""},
		{"lower_number", grant.Grant{Holder: me, Seq: 7}, 8, false, "older than 8"},
		{"another_pod", grant.Grant{Holder: grant.Incarnation{Member: "volume-1", Pod: "pod-2", Boot: "boot-1"}, Seq: 9}, 8, false, "pod-2"},
		{"another_boot", grant.Grant{Holder: grant.Incarnation{Member: "volume-1", Pod: "pod-1", Boot: "boot-0"}, Seq: 9}, 8, false, "another boot"},
		{"nobody", grant.Grant{Seq: 9}, 8, false, "pod"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, reason := Accept(tt.grant, grant.Incarnation{Pod: me.Pod, Boot: me.Boot}, tt.seen)
			if got != tt.want || !strings.Contains(reason, tt.reason) {
				t.Errorf("got %v (%s), want %v (%s)", got, reason, tt.want, tt.reason)
			}
		})
	}
}

func TestRenewal(t *testing.T) {
	stop := func(r Reign, left time.Duration) grant.Grant {
		g := *to(grant.Stop)
		g.Epoch, g.Deadline = r.Epoch, start.Add(left)
		return g
	}
	for _, tt := range []struct {
		name  string
		grant grant.Grant
		reign Reign
		want  boottime.Instant
		ok    bool
	}{
		{"same_reign", *toPrimary(third, fresh), third, start.Add(fresh), true},
		{"grant_that_ends_earlier", *toPrimary(third, time.Second), third, start.Add(time.Second), true},
		{"no_server_that_writes", *toPrimary(third, fresh), Reign{}, 0, false},
		{"newer_epoch", *toPrimary(fifth, fresh), third, 0, false},
		{"older_epoch", *toPrimary(first, fresh), third, 0, false},
		{"same_epoch_on_another_timeline", *toPrimary(Reign{Epoch: third.Epoch, Timeline: 9}, fresh), third, 0, false},
		{"replica", *toReplica(&leo), third, 0, false},
		{"wait", *to(grant.Wait), third, 0, false},
		{"stop_leaves_the_old_deadline", *to(grant.Stop), third, 0, false},
		{"stop_that_gives_time", stop(third, fresh), third, start.Add(fresh), true},
		{"stop_without_an_epoch_for_a_standby", stop(Reign{}, fresh), Reign{}, 0, false},
		{"stop_of_another_epoch", stop(fifth, fresh), third, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Renewal(tt.grant, tt.reign)
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %d %v, want %d %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestLineOpened(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		newest, before, granted uint32
		opened, wrong           bool
	}{
		{"granted_one", 5, 0, 5, true, false},
		{"granted_one_after_others", 5, 3, 5, true, false},
		{"no_history_yet", 0, 0, 5, false, false},
		{"old_history_only", 3, 3, 5, false, false},
		{"beyond_the_granted_one", 6, 3, 5, false, true},
		{"short_of_the_granted_one", 4, 3, 5, false, true},
		{"first_promotion_to_a_wrong_one", 2, 0, 5, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if opened, wrong := lineOpened(tt.newest, tt.before, tt.granted); opened != tt.opened || wrong != tt.wrong {
				t.Errorf("got opened %v, wrong %v, want %v, %v", opened, wrong, tt.opened, tt.wrong)
			}
		})
	}
}

type nobody struct{}

func (nobody) Quit(int) {}
func (nobody) KillAll() {}

func TestGrantThatDoesNotCountChangesNothing(t *testing.T) {
	good := *toPrimary(third, 0)
	good.Seq, good.Holder, good.Deadline = 5, me, boottime.Now().Add(time.Hour)
	for _, tt := range []struct {
		name string
		then func(t *testing.T, dir string, g grant.Grant)
	}{
		{"newer_format", func(t *testing.T, dir string, _ grant.Grant) {
			put(t, dir, `{"format":99,"seq":6,"role":"primary","deadline":1}`)
		}},
		{"half_a_file", func(t *testing.T, dir string, _ grant.Grant) { put(t, dir, `{"format":1,"seq":6,`) }},
		{"empty_file", func(t *testing.T, dir string, _ grant.Grant) { put(t, dir, ``) }},
		{"no_file", func(t *testing.T, dir string, _ grant.Grant) {
			if err := os.Remove(filepath.Join(dir, grant.File)); err != nil {
				t.Fatal(err)
			}
		}},
		{"lower_number", func(t *testing.T, dir string, g grant.Grant) {
			g.Seq, g.Deadline = 4, g.Deadline.Add(time.Hour)
			write(t, dir, g)
		}},
		{"another_pod", func(t *testing.T, dir string, g grant.Grant) {
			g.Seq, g.Holder.Pod, g.Deadline = 6, "pod-2", g.Deadline.Add(time.Hour)
			write(t, dir, g)
		}},
		{"another_boot", func(t *testing.T, dir string, g grant.Grant) {
			g.Seq, g.Holder.Boot, g.Deadline = 6, "boot-2", g.Deadline.Add(time.Hour)
			write(t, dir, g)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			f := fence.New(nobody{})
			gs := newGrants(dir, grant.Incarnation{Pod: me.Pod, Boot: me.Boot}, 0, f, slog.New(slog.DiscardHandler))
			write(t, dir, good)
			gs.read()
			gs.begin(ReignOf(good), good)
			tt.then(t, dir, good)
			gs.read()
			if got := gs.newest.Load(); got == nil || got.Seq != good.Seq {
				t.Errorf("the grant obeyed is %+v, want number %d", got, good.Seq)
			}
			if got := f.Deadline(); got != good.Deadline {
				t.Errorf("the deadline moved by %v", got.Sub(good.Deadline))
			}
			// ... and the next proper one counts again.
			next := good
			next.Seq, next.Deadline = 7, good.Deadline.Add(time.Second)
			write(t, dir, next)
			gs.read()
			if got := f.Deadline(); got != next.Deadline {
				t.Errorf("the next proper grant did not prolong the deadline")
			}
		})
	}
}

func TestGrantOlderThanTheStateOfAnEarlierGuardIsVoid(t *testing.T) {
	dir := t.TempDir()
	gs := newGrants(dir, grant.Incarnation{Pod: me.Pod, Boot: me.Boot}, 12, fence.New(nobody{}), slog.New(slog.DiscardHandler))
	g := *toPrimary(third, fresh)
	g.Seq, g.Holder = 11, me
	write(t, dir, g)
	gs.read()
	if got := gs.newest.Load(); got != nil {
		t.Errorf("grant %d is obeyed after 12", got.Seq)
	}
}

func write(t *testing.T, dir string, g grant.Grant) {
	t.Helper()
	if err := grant.Write(dir, g); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, dir, content string) {
	t.Helper()
	tmp := filepath.Join(dir, "new")
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, grant.File)); err != nil {
		t.Fatal(err)
	}
}
