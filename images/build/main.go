// Command build makes pgspan's container images with whatever the machine has: docker, podman or buildah. Where no registry
// can be reached, it makes the Debian base images itself.
//
//	go run -C images/build . build [name …]             all product images, or those named; "all" adds those for tests
//	go run -C images/build . push --registry R [name …] builds and pushes to R/pgspan/<name>:<tag>
//	go run -C images/build . rootfs [name …]            lays images down for unit tests (default: postgres, pgpool)
//	go run -C images/build . sbom [name …]              bills of materials (SPDX 2.3) into dist/sbom/
//
// The environment variable TAG, or --tag, replaces the version that git describes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/pgspan/pgspan/images/build/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command.New(os.Getenv("TAG"), os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}
