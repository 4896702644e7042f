package lifecycle

import (
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/test/lab/volume"
)

func TestChooseVolume(t *testing.T) {
	made := func(name, claim string, age time.Duration) volume.Volume {
		parts := strings.Split(claim, "/")
		return volume.Volume{Created: time.Unix(1e9, 0).Add(-age), Spec: volume.Spec{Name: name,
			Labels: map[string]string{"site": parts[0], "namespace": parts[1], "claim": parts[2]}}}
	}
	all := []volume.Volume{
		made("pvc-1", "a/default/data-0", 0),
		made("pvc-2", "b/default/data-0", 0),
		made("pvc-3", "a/other/mydata-0", 0),
		made("pvc-4", "a/default/again", time.Hour),
		made("pvc-5", "a/default/again", time.Minute),
		made("pvc-6", "a/default/again", 2*time.Hour),
	}
	for name, c := range map[string]struct{ text, want, complaint string }{
		"full_name":                    {text: "b/default/data-0", want: "pvc-2"},
		"claim_of_two_sites":           {text: "data-0", complaint: "a/default/data-0, b/default/data-0"},
		"end_of_another_claims_name":   {text: "ata-0", complaint: "no volume"},
		"claim_alone":                  {text: "mydata-0", want: "pvc-3"},
		"namespace_and_claim":          {text: "other/mydata-0", want: "pvc-3"},
		"volumes_own_name":             {text: "pvc-1", want: "pvc-1"},
		"claim_deleted_and_made_again": {text: "again", want: "pvc-5"},
		"claim_that_is_not_there":      {text: "a/default/none", complaint: "no volume"},
		"nothing":                      {text: "", complaint: "no volume"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := chooseVolume(all, c.text)
			if got != c.want || (err == nil) != (c.complaint == "") || (err != nil && !strings.Contains(err.Error(), c.complaint)) {
				t.Errorf("got %q, %v, want %q or an error with %q", got, err, c.want, c.complaint)
			}
		})
	}
}
