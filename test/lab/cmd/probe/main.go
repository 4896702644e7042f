// Command probe is what the lab's self-tests run in a pod: a small server that says how the pod sees its world.
//
//	GET /                     the pod's name
//	GET /resolve?name=NAME    the addresses the pod's DNS gives for NAME, one a line
//	GET /df?path=PATH         size, used and available bytes of PATH's file system
//	GET /get?url=URL          status of URL, asked from inside the pod
//	GET /clock                the pod's boot clock in seconds
//	POST /write?path=PATH&bytes=N&sync=1   writes N bytes to PATH; answers with the seconds it took
//
// It takes one environment variable, PROBE_LISTEN (default ":8080").
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := serve(ctx)
	stop()
	if err != nil {
		log.Error("probe ended", "error", err)
		os.Exit(1)
	}
}

// serve answers until the context ends.
func serve(ctx context.Context) error {
	address := os.Getenv("PROBE_LISTEN")
	if address == "" {
		address = ":8080"
	}
	server := &http.Server{Addr: address, Handler: handler(), ReadHeaderTimeout: 5 * time.Second}
	end := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer end()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
