package provisioner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pgspan/pgspan/test/lab/volume"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

const (
	resync        = time.Minute
	firstRetry    = 200 * time.Millisecond
	lastRetry     = 10 * time.Second
	workers       = 4
	requestsLimit = 30 * time.Second
)

// Options says for whom and with what.
type Options struct {
	// Site is the name the volumes are labelled with, so that one store can serve several sites.
	Site   string
	Config *rest.Config
	Store  *volume.Store
	Log    *slog.Logger
}

// site is one running provisioner.
type site struct {
	name        string
	client      kubernetes.Interface
	store       *volume.Store
	log         *slog.Logger
	events      record.EventRecorder
	claims      corelisters.PersistentVolumeClaimLister
	volumes     corelisters.PersistentVolumeLister
	classes     storagelisters.StorageClassLister
	attachments storagelisters.VolumeAttachmentLister
	// recheck has a volume looked at again: it may wait for its disk to be detached.
	recheck func(volume string)
}

// Run serves the site's claims until ctx ends.
func Run(ctx context.Context, o Options) error {
	config := rest.CopyConfig(o.Config)
	// The API server is on this machine and for tests; many claims at once are usual and should not queue here.
	config.QPS = -1
	config.Timeout = requestsLimit
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("provision volumes of site %s: %w", o.Site, err)
	}
	// Watches last longer than a request may.
	config = rest.CopyConfig(config)
	config.Timeout = 0
	watcher, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("provision volumes of site %s: %w", o.Site, err)
	}
	if err := ensureClasses(ctx, client); err != nil {
		return fmt.Errorf("provision volumes of site %s: %w", o.Site, err)
	}
	return serve(ctx, o, client, watcher)
}

func serve(ctx context.Context, o Options, client, watcher kubernetes.Interface) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})

	factory := informers.NewSharedInformerFactory(watcher, resync)
	core, storage := factory.Core().V1(), factory.Storage().V1()
	s := &site{
		name: o.Site, client: client, store: o.Store, log: o.Log,
		events:      broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: eventSource}),
		claims:      core.PersistentVolumeClaims().Lister(),
		volumes:     core.PersistentVolumes().Lister(),
		classes:     storage.StorageClasses().Lister(),
		attachments: storage.VolumeAttachments().Lister(),
	}
	loops := []*loop{
		newLoop("claim", s.syncClaim), newLoop("volume", s.syncVolume), newLoop("attachment", s.syncAttachment),
	}
	claims, volumes, attachments := loops[0], loops[1], loops[2]
	s.recheck = volumes.queue.Add
	err := errors.Join(
		claims.follow(core.PersistentVolumeClaims().Informer(), cache.MetaNamespaceKeyFunc),
		claims.follow(core.PersistentVolumes().Informer(), claimOf),
		volumes.follow(core.PersistentVolumes().Informer(), cache.MetaNamespaceKeyFunc),
		attachments.follow(storage.VolumeAttachments().Informer(), cache.MetaNamespaceKeyFunc),
	)
	if err != nil {
		return fmt.Errorf("provision volumes of site %s: %w", o.Site, err)
	}
	// Asking for it once is what makes the factory watch it.
	storage.StorageClasses().Informer()

	factory.Start(ctx.Done())
	defer factory.Shutdown()
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("provision volumes of site %s: list %s: %w", o.Site, kind, ctx.Err())
		}
	}
	if err := s.sweep(ctx); err != nil {
		return fmt.Errorf("provision volumes of site %s: %w", o.Site, err)
	}
	o.Log.Info("provisioning volumes")
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range loops {
		group.Go(func() error { return l.run(ctx, o.Log) })
	}
	return group.Wait()
}

// claimOf is the key of the claim a PersistentVolume belongs to, "" for none.
func claimOf(obj any) (string, error) {
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok || pv.Spec.ClaimRef == nil {
		return "", nil
	}
	return pv.Spec.ClaimRef.Namespace + "/" + pv.Spec.ClaimRef.Name, nil
}

// loop takes up each object that changed, again and later each time when that went wrong.
type loop struct {
	kind  string
	sync  func(ctx context.Context, key string) error
	queue workqueue.TypedRateLimitingInterface[string]
}

func newLoop(kind string, sync func(ctx context.Context, key string) error) *loop {
	backoff := workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)
	return &loop{kind: kind, sync: sync, queue: workqueue.NewTypedRateLimitingQueue(backoff)}
}

func (l *loop) follow(informer cache.SharedIndexInformer, keyOf func(any) (string, error)) error {
	add := func(obj any) {
		if key, err := keyOf(obj); err == nil && key != "" {
			l.queue.Add(key)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, obj any) { add(obj) },
	})
	return err
}

func (l *loop) run(ctx context.Context, log *slog.Logger) error {
	group := errgroup.Group{}
	for range workers {
		group.Go(func() error {
			for l.next(ctx, log) {
			}
			return nil
		})
	}
	<-ctx.Done()
	l.queue.ShutDown()
	return errors.Join(group.Wait(), ctx.Err())
}

func (l *loop) next(ctx context.Context, log *slog.Logger) bool {
	key, stop := l.queue.Get()
	if stop {
		return false
	}
	defer l.queue.Done(key)
	if err := l.sync(ctx, key); err != nil {
		log.Warn("storage step did not succeed, trying again", "kind", l.kind, "object", key, "error", err)
		l.queue.AddRateLimited(key)
		return true
	}
	l.queue.Forget(key)
	return true
}
