package seeding

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/durable"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/podenv"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// standalone stands in for keeper and the chart in a pod, or a bare container, that has neither: it writes the grant of a replica of
// PostDock's REPLICATION_PRIMARY_HOST, and settings if there are none. A replica's grant never ends, so guard needs nobody to renew it.
func standalone(pod podenv.Pod, log *slog.Logger) error {
	boot, err := boottime.BootID()
	if err != nil {
		return err
	}
	g, problems := pod.PostDock.Replica(pod.Incarnation(boot))
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	path := filepath.Join(pod.Settings, settings.File)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		text, err := yaml.Marshal(pod.PostDock.Settings())
		if err == nil {
			err = durable.WriteFile(path, text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
		log.Info("settings written from PostDock's variables", "path", path)
	}
	log.Warn("running without keeper: this member is a replica and stays one", "upstream", g.Upstream.Host, "member", g.Holder.Member)
	return grant.Write(pod.Control, g)
}
