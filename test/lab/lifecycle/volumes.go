package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/volume"
)

// killPatience is how long processes may take to die before a hung volume is suspected.
const killPatience = 3 * time.Second

// holderPatience is for programs that have nothing to do with the lab: one that made a mount namespace of its own while
// the lab was up has a copy of the lab's mounts, and keeps them until it ends.
const holderPatience = 45 * time.Second

// removeVolumes deletes all volumes.
func removeVolumes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, holderPatience)
	defer cancel()
	for {
		err := volume.Remove(ctx, VolumesDir())
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(pollEvery)
	}
}

// endProcesses ends every process of the lab. One that waits for a hung volume dies only when the volume is healed,
// which in turn only works once the background process, that has the volumes open, is gone.
func endProcesses(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, killPatience)
	err := cgroup.Kill(first, "")
	cancel()
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	// What cannot be unmounted yet is tried again later.
	_ = volume.CleanUp(ctx, VolumesDir())
	return cgroup.Kill(ctx, "")
}

// FindVolume finds the one volume that CLAIM, NAMESPACE/CLAIM, SITE/NAMESPACE/CLAIM or the volume's own name means.
func FindVolume(ctx context.Context, text string) (string, error) {
	all, err := Volumes(ctx)
	if err != nil {
		return "", err
	}
	return chooseVolume(all, text)
}

// chooseVolume takes the newest of several volumes of one claim: the older ones are of claims that were deleted.
func chooseVolume(all []volume.Volume, text string) (string, error) {
	newest := map[string]volume.Volume{}
	for _, v := range all {
		claim := claimOf(v)
		if v.Name == text {
			return v.Name, nil
		}
		if claim != text && !strings.HasSuffix(claim, "/"+text) {
			continue
		}
		if other, known := newest[claim]; !known || v.Created.After(other.Created) {
			newest[claim] = v
		}
	}
	claims := slices.Sorted(maps.Keys(newest))
	switch len(claims) {
	case 1:
		return newest[claims[0]].Name, nil
	case 0:
		return "", fmt.Errorf("there is no volume of a claim %q", text)
	}
	return "", fmt.Errorf("%q can be any of %s: write the one you mean", text, strings.Join(claims, ", "))
}

// claimOf is SITE/NAMESPACE/CLAIM of a volume.
func claimOf(v volume.Volume) string {
	return strings.Join([]string{v.Labels["site"], v.Labels["namespace"], v.Labels["claim"]}, "/")
}
