package keeping

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgspan/pgspan/agents/internal/kube"
	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/publish"
)

// volumesEvery is how often the leader looks whether a volume is smaller than it should be. kubelet takes about a minute to bring new
// settings, so that looking more often would not make growing faster.
const volumesEvery = 15 * time.Second

// growVolumes raises, on the leader, the claims that ask for less than the settings say. A StatefulSet's template cannot change, so nobody
// else would; a claim can, and its volume grows under the running server. Nothing is ever made smaller. The whole release's claims are
// looked at: a new replica's is made from the old template.
func (k *Keeper) growVolumes() func(context.Context) error {
	var said string // the last refusal that became an event
	return func(ctx context.Context) error {
		if k.Snapshot().Role() != observed.Primary {
			return nil
		}
		s, err := k.settingsFile.Read()
		if err != nil {
			return err
		}
		want, err := kube.Bytes(s.VolumeSize)
		if err != nil || want == 0 {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		claims, err := k.o.API.Claims(ctx, publish.LabelCluster+"="+k.settings.Release)
		if err != nil {
			return err
		}
		var failed []error
		for _, c := range tooSmall(claims, want) {
			if err := k.o.API.GrowClaim(ctx, c.Name, c.UID, s.VolumeSize); err != nil {
				failed = append(failed, err)
				continue
			}
			k.log.Info("volume is to grow", "claim", c.Name, "size", s.VolumeSize)
			k.events.Tell(false, "VolumeGrows", fmt.Sprintf("%s asks for %s now", c.Name, s.VolumeSize))
		}
		if err = errors.Join(failed...); err == nil {
			said = ""
		} else if text := err.Error(); text != said {
			said = text
			k.events.Tell(true, "VolumeCannotGrow", text)
		}
		return err
	}
}

// tooSmall are the claims that ask for less than is wanted. One that is not bound cannot be resized, one that goes need not be, and of one
// whose request is unknown nothing is known.
func tooSmall(claims []kube.Claim, want int64) []kube.Claim {
	var small []kube.Claim
	for _, c := range claims {
		if c.Request > 0 && c.Request < want && c.Capacity > 0 && !c.Deleting {
			small = append(small, c)
		}
	}
	return small
}
