package lifecycle

import (
	"context"
	"log/slog"
	"time"

	"github.com/pgspan/pgspan/test/lab/loadbalancer"
	"github.com/pgspan/pgspan/test/lab/provisioner"
	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/pgspan/pgspan/test/lab/volume"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
)

const serveAgainAfter = 2 * time.Second

// serveSite does for one site what its cloud would do. It begins when the site's files are there, and begins again
// when a part of it ends.
func serveSite(ctx context.Context, s topology.Site, store *volume.Store, log *slog.Logger) error {
	for {
		err := serveSiteOnce(ctx, s, store, log)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		log.Info("site is not served yet", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(serveAgainAfter):
		}
	}
}

func serveSiteOnce(ctx context.Context, s topology.Site, store *volume.Store, log *slog.Logger) error {
	config, err := RestConfig(s)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := awaitAPI(ctx, s, client); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return loadbalancer.New(s, client, log).Run(ctx) })
	group.Go(func() error {
		return provisioner.Run(ctx, provisioner.Options{Site: s.Name, Config: config, Store: store, Log: log})
	})
	return group.Wait()
}
