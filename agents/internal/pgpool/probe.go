package pgpool

import (
	"context"
	"net"
	"strconv"
	"time"
)

// reachable tries to connect to a backend. It sends nothing: PostgreSQL logs no line for a connection that closes unused, and an
// EndpointSlice without endpoints refuses at once.
func reachable(ctx context.Context, b Backend) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(b.Host, strconv.Itoa(b.Port)))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// watchPrimary calls seen after every look at the primary's Service, until ctx ends.
func watchPrimary(ctx context.Context, b Backend, every time.Duration, seen func(Sight)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last, since := reachable(ctx, b), time.Now()
	for {
		seen(Sight{Reached: last, For: time.Since(since)})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := reachable(ctx, b); now != last {
			last, since = now, time.Now()
		}
	}
}
