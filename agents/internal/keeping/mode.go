package keeping

import (
	"os"
	"path/filepath"
	"time"

	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/record"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// mountLag is how long the kubelet may take to bring changed settings into a pod.
const mountLag = 2 * time.Minute

// modeOf is the mode that a leader goes by: its own settings', unless the record was written by a leader with others and this one's may be the older
// ones. To go by those would take the promise out of the record and acknowledge alone, for as long as the kubelet takes.
func modeOf(own settings.Synchronous, changed boottime.Instant, r record.Record, reignBegan, now boottime.Instant) settings.Synchronous {
	if r.Sync == nil || r.Sync.Mode == "" || changed > reignBegan || now.Sub(reignBegan) >= mountLag {
		return own
	}
	return settings.Synchronous{Mode: r.Sync.Mode, Number: r.Sync.Number}
}

// readMode takes what is live from the settings as they are now: the mode, and a person's word about lost records. Settings that cannot be read change nothing.
func (k *Keeper) readMode() {
	info, err := os.Stat(filepath.Join(k.o.Settings, settings.File)) // through the link that kubelet swaps
	if err != nil || info.ModTime().Equal(k.look().modeAt) {
		return
	}
	s, err := k.settingsFile.Read()
	if err != nil {
		k.log.Warn("settings not readable", "error", err)
		return
	}
	if s.Ignored != "" {
		k.log.Warn("settings are newer than this agent, which goes by those that it knows", "ignored", s.Ignored)
	}
	k.change(func(n *known) {
		if !n.modeAt.IsZero() {
			n.modeNew = boottime.Now()
		}
		n.mode, n.adopt, n.modeAt = s.Synchronous, s.Bootstrap.Adopt, info.ModTime()
	})
	k.judgeWake.up()
}
