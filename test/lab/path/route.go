package path

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/command"
	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/topology"
	"github.com/pgspan/pgspan/test/lab/wan"
)

const (
	// rulePreference comes before the kernel's main table.
	rulePreference = "1000"
	// buffered is how long a packet may wait for its turn on a narrow path.
	buffered = "100ms"
)

func deviceName(from, to int) string { return fmt.Sprintf("path%d-%d", from, to) }
func routeTable(from, to int) string { return fmt.Sprintf("%d", 1000+16*from+to) }

// Attach sends the packets between two sites over the devices of a running Serve.
func Attach(ctx context.Context, a, b topology.Site, p fault.Path) error {
	for _, d := range [][2]topology.Site{{a, b}, {b, a}} {
		if err := attachOne(ctx, d[0], d[1], p); err != nil {
			return err
		}
	}
	return nil
}

func attachOne(ctx context.Context, from, to topology.Site, p fault.Path) error {
	device, table := deviceName(from.Index, to.Index), routeTable(from.Index, to.Index)
	if err := awaitDevice(ctx, device); err != nil {
		return err
	}
	if p.Bits > 0 {
		// The bucket holds what the rate gives in 5 ms, and never less than some full packets.
		burst := max(p.Bits/8/200, 16_000)
		if _, err := command.Run(ctx, "tc", "-n", wan.Namespace, "qdisc", "replace", "dev", device, "root", "tbf",
			"rate", fmt.Sprintf("%dbit", p.Bits), "burst", fmt.Sprint(burst), "latency", buffered); err != nil {
			return err
		}
	}
	lines := fmt.Sprintf("link set %[1]s up\nroute replace default dev %[1]s table %[2]s\nrule add pref %[3]s iif %[4]s to %[5]s lookup %[2]s\n",
		device, table, rulePreference, from.Bridge(), to.Range())
	_, err := command.Feed(ctx, lines, "ip", "-n", wan.Namespace, "-batch", "-")
	return err
}

func awaitDevice(ctx context.Context, device string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		_, err := command.Run(ctx, "ip", "-n", wan.Namespace, "link", "show", "dev", device)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for device of the path: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Detach lets the packets of two sites go their short way again. Packets that are on the way are lost.
func Detach(ctx context.Context, a, b topology.Site) error {
	for _, d := range [][2]topology.Site{{a, b}, {b, a}} {
		for {
			_, err := command.Run(ctx, "ip", "-n", wan.Namespace, "rule", "del", "pref", rulePreference,
				"iif", d[0].Bridge(), "to", d[1].Range().String())
			if err == nil {
				continue
			}
			if strings.Contains(err.Error(), "No such file or directory") {
				break
			}
			return err
		}
	}
	return nil
}
