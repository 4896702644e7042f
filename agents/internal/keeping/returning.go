package keeping

import (
	"context"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/judge"
	"github.com/pgspan/pgspan/agents/internal/pg"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// returnEvery is how often a leader that is not of the primary set looks whether it is to hand back.
const returnEvery = 5 * time.Second

// returning lets a leader that is not of the primary set hand over to one that is, if the settings want that. It is a switchover like any other.
func (k *Keeper) returning() func(context.Context) error {
	o := pg.NewObserver(k.where)
	var fit, said string
	var since boottime.Instant
	return func(ctx context.Context) error {
		s, err := k.settingsFile.Read()
		v := k.view()
		home := judge.InSet(k.settings.Release + "-primary-0")
		if err != nil || s.Failover.FailBack() == 0 || home(k.o.Pod) || !v.InForce(boottime.Now()) {
			o.Close()
			fit, said = "", ""
			return err
		}
		limited, cancel := context.WithTimeout(ctx, 2*askLimit)
		asked := k.asked(v, record.Intent{Epoch: v.Record.Epoch}, k.successors(limited, o, v.Record))
		cancel()
		now := boottime.Now()
		verdict := judge.FailBack(judge.Home{After: s.Failover.FailBack(), Asked: asked, Set: home, Fit: fit, For: now.Sub(since)})
		if verdict.Fit != fit {
			fit, since = verdict.Fit, now
		}
		if verdict.Reason != said {
			said = verdict.Reason
			k.log.Info("fail-back judged", "reason", said)
		}
		if !verdict.Due {
			return nil
		}
		limited, cancel = context.WithTimeout(ctx, orderTime)
		defer cancel()
		err = k.loop.Load().Change(limited, func(r *record.Record) error {
			again := judge.Admit(*r, judge.FailBackID(*r), v.Record.Epoch)
			if again.Known != nil || again.Refused != "" {
				return errRefused{"something else came first"}
			}
			r.Intend(record.Intent{
				ID: judge.FailBackID(*r), Kind: record.Switchover, Epoch: r.Epoch, From: k.o.Pod, FromID: k.me().Member, Target: verdict.Fit,
				Reason: "fail-back to the primary set", Left: record.Duration(intentLimit), State: record.Open,
			})
			return nil
		})
		if err != nil {
			return fmt.Errorf("begin the fail-back to %s: %w", verdict.Fit, err)
		}
		k.handWake.up()
		return nil
	}
}
