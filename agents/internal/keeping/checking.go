package keeping

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/pgconf"
)

// checkEvery is how often a server is looked at for settings that somebody has changed behind our back.
const checkEvery = 3 * time.Second

// checking takes back what ALTER SYSTEM has set of the settings that are ours (SAFETY rule 24): it would win over the files that guard writes, end
// synchronous mode without a word, or send a standby to another server.
func (k *Keeper) checking() func(context.Context) error {
	o := pg.NewObserver(k.where)
	ours := pgconf.Ours(pgconf.Input{Major: k.settings.Major, Settings: k.settings})
	return func(ctx context.Context) error {
		n := k.look()
		if n.state == nil || n.state.Phase != grant.Running || n.freshStatus(boottime.Now()) == nil {
			o.Close()
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		names, err := o.Overridden(ctx, ours)
		if err != nil || len(names) == 0 {
			return err
		}
		if err := o.Reset(ctx, names); err != nil {
			return err
		}
		list := strings.Join(names, ", ")
		k.log.Warn("settings of ALTER SYSTEM taken back", "settings", list)
		k.events.Tell(true, "SettingsReset", fmt.Sprintf("ALTER SYSTEM had set %s, which high availability needs as it is: reset. What you may set stands under postgresql.parameters", list))
		return nil
	}
}

// strange is for how long a standby must stream from another server than it was told to before that counts: a change of leaders reaches the
// receiver a moment after the grant.
const strange = 2 * time.Second

// stranger says from whom a standby streams although its grant names another, or nobody; empty: from nobody else (SAFETY rule 13).
func stranger(r *pg.Receiver, g *grant.Grant) string {
	if r == nil || g == nil || g.Role != grant.Replica {
		return ""
	}
	if up := g.Upstream; up != nil && r.Host == up.Host && r.Port == up.Port && r.Address == up.Address {
		return ""
	}
	return fmt.Sprintf("%s (%s) port %d", r.Host, r.Address, r.Port)
}

// noteStranger remembers since when this standby has streamed from another server than it was told to.
func (k *Keeper) noteStranger(s pg.Status, now boottime.Instant) {
	from := stranger(s.Receiver, k.issuer.previous())
	k.change(func(n *known) {
		switch {
		case from == "":
			n.stranger, n.strangerSince = "", 0
		case n.stranger != from:
			n.stranger, n.strangerSince = from, now
		}
	})
}
