package keeping

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// passwordsEvery is how soon a password that was changed in its Secret is seen.
const passwordsEvery = 30 * time.Second

// passwords are the users' passwords as their Secrets have them. They are read from the API and not from a mount: which Secrets a pod mounts is
// fixed when it starts, and a user who is added must not cost a restart.
type passwords struct {
	get func(ctx context.Context, name string) (data map[string][]byte, version string, err error)

	from    map[string]settings.Secret
	read    map[string]secretRead // by the Secret's name
	readAt  boottime.Instant
	version string
}

// secretRead is what the API last said of a Secret.
type secretRead struct {
	data    map[string][]byte // the keys that are passwords
	version string
	err     error
}

// look reads the Secrets, each once, if they are others than before or it is time, and returns a text that changes when they do. It holds no
// password. What could not be found out leaves what was known, and ends the round: the API that does not answer for one Secret will not for the next.
func (p *passwords) look(ctx context.Context, now boottime.Instant, from map[string]settings.Secret) string {
	if p.read != nil && maps.Equal(from, p.from) && now.Sub(p.readAt) < passwordsEvery {
		return p.version
	}
	before := p.read
	p.from, p.readAt, p.read = from, now, map[string]secretRead{}
	said, silent := []string{}, false
	for _, user := range slices.Sorted(maps.Keys(from)) {
		name := from[user].Name
		r, ok := p.read[name]
		if !ok {
			r = p.secret(ctx, name, before, &silent)
			p.read[name] = r
		}
		said = append(said, fmt.Sprint(user, from[user], r.version, r.err))
	}
	p.version = strings.Join(said, "\n")
	return p.version
}

// secret reads one Secret, unless the API is silent, and keeps the keys of it that are asked for.
func (p *passwords) secret(ctx context.Context, name string, before map[string]secretRead, silent *bool) secretRead {
	old, known := before[name]
	r := secretRead{err: errSilent}
	if !*silent {
		r.data, r.version, r.err = p.get(ctx, name)
	}
	var refusal *kube.Refusal
	if r.err != nil && !errors.As(r.err, &refusal) {
		*silent = true
		if known {
			return old
		}
	}
	maps.DeleteFunc(r.data, func(key string, _ []byte) bool {
		return !slices.ContainsFunc(slices.Collect(maps.Values(p.from)), func(s settings.Secret) bool { return s.Name == name && s.Key == key })
	})
	return r
}

var errSilent = errors.New("the API does not answer")

// of is a user's password as it was when look last read it.
func (p *passwords) of(user string) (string, error) {
	s, ok := p.from[user]
	if !ok {
		return "", errors.New("the settings name no Secret for it")
	}
	r := p.read[s.Name]
	switch {
	case kube.IsNotFound(r.err):
		return "", fmt.Errorf("there is no Secret %s", s.Name)
	case r.err != nil:
		return "", r.err
	}
	b, ok := r.data[s.Key]
	if !ok {
		return "", fmt.Errorf("its Secret %s has no key %s", s.Name, s.Key)
	}
	return string(b), nil
}

// mounted are the passwords as charts before 0.1.0 mounted them, whose settings name no Secrets: <user>/password.
func mounted(dir string) func(user string) (string, error) {
	return func(user string) (string, error) {
		b, err := os.ReadFile(filepath.Join(dir, user, "password"))
		return string(b), err
	}
}

// forget lets go of all passwords: a replica needs none.
func (p *passwords) forget() { p.from, p.read, p.version = nil, nil, "" }
