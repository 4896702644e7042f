package keeping

import (
	"context"
	"fmt"
	"maps"
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
	data    map[string][]byte
	version string
	err     error
}

// look reads the Secrets, each once, if they are others than before or it is time, and returns a text that changes when they do. It holds no
// password.
func (p *passwords) look(ctx context.Context, now boottime.Instant, from map[string]settings.Secret) string {
	if p.read != nil && maps.Equal(from, p.from) && now.Sub(p.readAt) < passwordsEvery {
		return p.version
	}
	p.from, p.readAt, p.read = from, now, map[string]secretRead{}
	said := []string{}
	for _, user := range slices.Sorted(maps.Keys(from)) {
		name := from[user].Name
		r, ok := p.read[name]
		if !ok {
			r.data, r.version, r.err = p.get(ctx, name)
			p.read[name] = r
		}
		said = append(said, fmt.Sprint(user, from[user], r.version, r.err))
	}
	p.version = strings.Join(said, "\n")
	return p.version
}

// of is a user's password as it was when look last read it.
func (p *passwords) of(user string) (string, error) {
	s, ok := p.from[user]
	if !ok {
		return "", fmt.Errorf("the settings name no Secret for it")
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

// forget lets go of all passwords: a replica needs none.
func (p *passwords) forget() { p.from, p.read, p.version = nil, nil, "" }
