package provisioner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgspan/pgspan/test/lab/volume"
)

// Find returns the name of the disk behind a claim, "NAMESPACE/CLAIM" or "CLAIM" in the namespace default. It asks the
// store and not the cluster, so that a fault can be made while the API server is stopped. Of several disks (a claim
// deleted and made again, the old disk kept) it is the newest.
func Find(store *volume.Store, site, claim string) (string, error) {
	namespace, name, ok := strings.Cut(claim, "/")
	if !ok {
		namespace, name = defaultNamespace, claim
	}
	disks, err := store.Find(map[string]string{siteLabel: site})
	if err != nil {
		return "", err
	}
	var newest *volume.Volume
	var others []string
	for i, disk := range disks {
		if disk.Labels[namespaceLabel] != namespace || disk.Labels[claimLabel] != name {
			others = append(others, disk.Labels[namespaceLabel]+"/"+disk.Labels[claimLabel])
			continue
		}
		if newest == nil || disk.Created.After(newest.Created) {
			newest = &disks[i]
		}
	}
	if newest != nil {
		return newest.Name, nil
	}
	if len(others) == 0 {
		return "", fmt.Errorf("site %s has no volumes", site)
	}
	slices.Sort(others)
	return "", fmt.Errorf("site %s has no volume of claim %s/%s; it has %s", site, namespace, name, strings.Join(slices.Compact(others), ", "))
}
