package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// How often a member at rest is spoken to: kubelet probes it every two seconds, and Prometheus scrapes it every quarter of a minute.
const (
	probeEvery  = 2 * time.Second
	scrapeEvery = 15 * time.Second
	askLimit    = 10 * time.Second
)

// floor is the program that the agents are compared with.
type floor struct {
	pid  int
	url  string
	stop func()
}

// startFloor builds and starts it.
func startFloor(ctx context.Context, module string) (floor, error) {
	dir, err := os.MkdirTemp("", "bench-agent-")
	if err != nil {
		return floor{}, err
	}
	program := filepath.Join(dir, "floor")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./bench/agent/floor")
	build.Dir, build.Env, build.Stderr = module, append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		return floor{}, fmt.Errorf("build the floor: %w", err)
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return floor{}, err
	}
	if err := cmd.Start(); err != nil {
		return floor{}, fmt.Errorf("start the floor: %w", err)
	}
	stop := func() {
		_ = cmd.Process.Kill() // an error means that it has ended
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return floor{}, fmt.Errorf("the floor does not tell its address: %w", err)
	}
	return floor{cmd.Process.Pid, "http://" + strings.TrimSpace(address), stop}, nil
}

// bother scrapes the keepers and probes and scrapes the floor until ctx ends. One that does not answer spoils the measurement.
func (b *bench) bother(ctx context.Context, f floor) error {
	probe, scrape := time.NewTicker(probeEvery), time.NewTicker(scrapeEvery)
	defer probe.Stop()
	defer scrape.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-probe.C:
			err = get(ctx, f.url+"/livez")
		case <-scrape.C:
			if err = get(ctx, f.url+"/metrics"); err == nil {
				err = b.scrape(ctx)
			}
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// scrape asks each keeper for its metrics, through the API server.
func (b *bench) scrape(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	pods, err := b.s.Pods(ctx, namespace, selector)
	if err != nil {
		return err
	}
	for _, p := range pods {
		out, err := b.s.Client.CoreV1().Pods(namespace).ProxyGet("http", p.Name, "8008", "metrics", nil).DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("scrape %s: %w", p.Name, err)
		}
		if !strings.Contains(string(out), "\npgspan_server_up 1\n") {
			return fmt.Errorf("scrape %s: its server is not up", p.Name)
		}
	}
	return nil
}

func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return nil
}
