package keeping

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/accounts"
	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

const (
	// accountsEvery is how often accounts are looked at although nothing seems to have changed; accountsRetry how soon after a failure.
	accountsEvery = 5 * time.Minute
	accountsRetry = 15 * time.Second
	accountsTime  = 2 * time.Minute
)

// accounts keeps roles, users and databases in step, on the leader. It has a loop of its own: creating an extension may take a while.
func (k *Keeper) accounts() func(context.Context) error {
	var done string // what the last complete run was made for
	var next boottime.Instant
	given := passwords{get: k.o.API.Secret}
	var said string // what people were last told that is wrong
	return func(ctx context.Context) error {
		s := k.Snapshot()
		if s.Role() != observed.Primary {
			done = ""
			given.forget()
			return nil
		}
		want, err := k.settingsFile.Read()
		if err != nil {
			return err
		}
		secrets := given.look(ctx, boottime.Now(), want.Passwords)
		text, err := json.Marshal([]any{want.Users, want.Databases, want.SuperuserTCP})
		if err != nil {
			return err
		}
		key := fmt.Sprint(s.Epoch, string(text), secrets)
		if key == done && boottime.Now().Before(next) {
			return nil
		}
		done, next = key, boottime.Now().Add(accountsRetry)
		ctx, cancel := context.WithTimeout(ctx, accountsTime)
		defer cancel()
		of := given.of
		if want.Passwords == nil {
			of = mounted(k.o.Users)
		}
		changed, err := accounts.Keep(ctx, k.where, want, of)
		for _, c := range changed {
			k.log.Info("accounts changed", "change", c)
		}
		switch {
		case err == nil:
			said, next = "", boottime.Now().Add(accountsEvery)
		case err.Error() != said: // once, and not with each try
			said = err.Error()
			k.events.Tell(true, "AccountsIncomplete", said)
		}
		if bootErr := k.finishBootstrap(ctx, want); bootErr != nil {
			return bootErr
		}
		return err
	}
}

// finishBootstrap runs the statements that a new database begins with, each once, and then gives up the claim. How many were run is in the
// record after each: a server that dies in between repeats one at most.
func (k *Keeper) finishBootstrap(ctx context.Context, s settings.Settings) error {
	v := k.view()
	if !v.Mine || v.Record.Bootstrap == nil || v.Record.Bootstrap.Member != k.me().Member {
		return nil
	}
	first := v.Record.Bootstrap.Statements
	if first < len(s.PostgreSQL.InitSQL) {
		a, err := pg.OpenAdmin(ctx, k.where, "postgres")
		if err != nil {
			return err
		}
		defer a.Close()
		for i := first; i < len(s.PostgreSQL.InitSQL); i++ {
			if err := a.Run(ctx, s.PostgreSQL.InitSQL[i]); err != nil {
				err = fmt.Errorf("postgresql.initSQL, statement %d: %w", i+1, err)
				k.events.Tell(true, "InitSQLFailed", err.Error())
				return err
			}
			k.tellRecord(v.Record.Epoch, func(n *news) { n.statements = i + 1 })
			if err := k.recorded(ctx, func(r record.Record) bool { return r.Bootstrap == nil || r.Bootstrap.Statements > i }); err != nil {
				return err
			}
		}
	}
	k.tellRecord(v.Record.Epoch, func(n *news) { n.done = true })
	if err := k.recorded(ctx, func(r record.Record) bool { return r.Bootstrap == nil }); err != nil {
		return err
	}
	k.log.Info("database created", "systemID", k.view().Record.SystemID)
	k.events.Tell(false, "DatabaseCreated", "the new database is ready")
	return nil
}

// recorded waits until the store has confirmed what was told.
func (k *Keeper) recorded(ctx context.Context, good func(record.Record) bool) error {
	k.loop.Load().Nudge()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		v := k.view()
		if !v.Mine {
			return fmt.Errorf("wait for the record: another holder has it")
		}
		if good(v.Record) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the record: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
