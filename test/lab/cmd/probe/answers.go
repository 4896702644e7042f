package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 10 * time.Second

func handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, f func(context.Context, *http.Request) (string, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), patience)
			defer cancel()
			text, err := f(ctx, r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			_, _ = fmt.Fprintln(w, text)
		})
	}
	answer("GET /{$}", func(context.Context, *http.Request) (string, error) { return os.Hostname() })
	answer("GET /resolve", resolve)
	answer("GET /df", df)
	answer("GET /get", get)
	answer("GET /clock", clock)
	answer("POST /write", write)
	return mux
}

func resolve(ctx context.Context, r *http.Request) (string, error) {
	addresses, err := net.DefaultResolver.LookupHost(ctx, r.FormValue("name"))
	return strings.Join(addresses, "\n"), err
}

func df(_ context.Context, r *http.Request) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(r.FormValue("path"), &s); err != nil {
		return "", err
	}
	block := uint64(s.Bsize)
	return fmt.Sprintf("%d %d %d", s.Blocks*block, (s.Blocks-s.Bfree)*block, s.Bavail*block), nil
}

func get(ctx context.Context, r *http.Request) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.FormValue("url"), nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	_ = response.Body.Close()
	return response.Status, nil
}

func clock(context.Context, *http.Request) (string, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return "", err
	}
	return strconv.FormatInt(now.Sec, 10), nil
}

// write writes in blocks of a database's size, each one synced when asked.
func write(ctx context.Context, r *http.Request) (string, error) {
	size, err := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
	if err != nil {
		return "", err
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if r.FormValue("sync") == "1" {
		flags |= os.O_SYNC
	}
	file, err := os.OpenFile(r.FormValue("path"), flags, 0o600)
	if err != nil {
		return "", err
	}
	began := time.Now()
	block := make([]byte, 8192)
	for written := int64(0); written < size && err == nil; written += int64(len(block)) {
		if _, err = file.Write(block); err == nil {
			err = ctx.Err()
		}
	}
	err = errors.Join(err, file.Close())
	return fmt.Sprintf("%.3f", time.Since(began).Seconds()), err
}
