package keeping

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// lying is what lies in a namespace's Secrets.
type lying map[string]secretRead

func (l lying) get(_ context.Context, name string) (map[string][]byte, string, error) {
	r, ok := l[name]
	if !ok {
		r.err = &kube.Refusal{Code: 404, Reason: "NotFound", Details: struct{ Name, Kind string }{Name: name}}
	}
	return r.data, r.version, r.err
}

func one(text, version string) secretRead {
	return secretRead{data: map[string][]byte{"password": []byte(text)}, version: version}
}

func TestPasswordsOfUsers(t *testing.T) {
	api := lying{"db-user-app": one("first", "1"), "shared": one("both", "1"), "away": {err: errors.New("no answer")}}
	p := passwords{get: api.get}
	from := map[string]settings.Secret{
		"app": {Name: "db-user-app", Key: "password"}, "a": {Name: "shared", Key: "password"}, "b": {Name: "shared", Key: "word"},
		"none": {Name: "forgotten", Key: "password"}, "unknown": {Name: "away", Key: "password"},
	}
	was := p.look(t.Context(), boottime.Instant(time.Hour), from)
	for user, want := range map[string]string{"app": "first", "a": "both"} {
		if got, err := p.of(user); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", user, got, err, want)
		}
	}
	for user, want := range map[string]string{
		"b": "its Secret shared has no key word", "none": "there is no Secret forgotten", "unknown": "no answer", "nobody": "the settings name no Secret",
	} {
		if _, err := p.of(user); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", user, err, want)
		}
	}
	if strings.Contains(was, "first") || strings.Contains(was, "both") {
		t.Errorf("the text that tells of changes holds a password: %q", was)
	}
}

func TestPasswordsAreReadAgainWhenItIsTimeOrUsersChange(t *testing.T) {
	api := lying{"db-user-app": one("first", "1"), "db-user-new": one("new", "7")}
	p := passwords{get: api.get}
	from := map[string]settings.Secret{"app": {Name: "db-user-app", Key: "password"}}
	begin := boottime.Instant(time.Hour)
	was := p.look(t.Context(), begin, from)
	api["db-user-app"] = one("second", "2")
	if got := p.look(t.Context(), begin.Add(passwordsEvery-time.Second), from); got != was {
		t.Error("read again before it was time")
	}
	if got := p.look(t.Context(), begin.Add(passwordsEvery), from); got == was {
		t.Error("a changed Secret was not seen when it was time")
	}
	if text, err := p.of("app"); err != nil || text != "second" {
		t.Errorf("after the change: got %q, %v", text, err)
	}
	from = map[string]settings.Secret{"app": from["app"], "new": {Name: "db-user-new", Key: "password"}}
	p.look(t.Context(), begin.Add(passwordsEvery+time.Second), from)
	if text, err := p.of("new"); err != nil || text != "new" {
		t.Errorf("a user who was added is not known at once: got %q, %v", text, err)
	}
	p.forget()
	if _, err := p.of("app"); err == nil {
		t.Error("a password outlives the time as leader")
	}
}

// An API that does not answer says nothing about a password, and is not asked once more for each user.
func TestPasswordsOutliveAnAPIThatDoesNotAnswer(t *testing.T) {
	api := lying{"a": one("first", "1"), "b": one("other", "1"), "gone": one("x", "1")}
	asked := 0
	p := passwords{get: func(ctx context.Context, name string) (map[string][]byte, string, error) {
		asked++
		return api.get(ctx, name)
	}}
	from := map[string]settings.Secret{"a": {Name: "a", Key: "password"}, "b": {Name: "b", Key: "password"}}
	begin := boottime.Instant(time.Hour)
	was := p.look(t.Context(), begin, from)
	api["a"], api["b"] = secretRead{err: errors.New("timeout")}, secretRead{err: errors.New("timeout")}
	asked = 0
	if got := p.look(t.Context(), begin.Add(passwordsEvery), from); got != was || asked != 1 {
		t.Errorf("asked %d times, want once; what is known changed to %q from %q", asked, got, was)
	}
	if text, err := p.of("b"); err != nil || text != "other" {
		t.Errorf("got %q, %v", text, err)
	}
	from = map[string]settings.Secret{"a": from["a"], "late": {Name: "late", Key: "password"}}
	p.look(t.Context(), begin.Add(2*passwordsEvery), from)
	if _, err := p.of("late"); !errors.Is(err, errSilent) {
		t.Errorf("a user who was added meanwhile: got %v, want %v", err, errSilent)
	}
	delete(api, "a")
	p.look(t.Context(), begin.Add(3*passwordsEvery), map[string]settings.Secret{"a": from["a"]})
	if _, err := p.of("a"); err == nil || !strings.Contains(err.Error(), "there is no Secret a") {
		t.Errorf("the API's word that a Secret is gone: got %v", err)
	}
}

func TestOnlyPasswordsAreKeptOfASecret(t *testing.T) {
	api := lying{"shared": {data: map[string][]byte{"password": []byte("x"), "word": []byte("y"), "tls.key": []byte("z")}, version: "1"}}
	p := passwords{get: api.get}
	p.look(t.Context(), boottime.Instant(time.Hour), map[string]settings.Secret{"a": {Name: "shared", Key: "password"}, "b": {Name: "shared", Key: "word"}})
	if data := p.read["shared"].data; len(data) != 2 || data["tls.key"] != nil {
		t.Errorf("kept: %v", len(data))
	}
}

func TestPasswordsThatAnOlderChartMounted(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "app"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "app", "password"), []byte("mounted"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := mounted(dir)("app"); err != nil || text != "mounted" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := mounted(dir)("late"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: got %v", err)
	}
}
