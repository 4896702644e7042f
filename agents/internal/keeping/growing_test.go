package keeping

import (
	"testing"

	"github.com/pgspan/pgspan/agents/internal/kube"
)

func TestOnlyWhatIsTooSmallGrows(t *testing.T) {
	const gi = 1 << 30
	cases := map[string]struct {
		claim kube.Claim
		want  bool
	}{
		"smaller_than_the_settings_say":    {kube.Claim{Request: 10 * gi, Capacity: 10 * gi}, true},
		"volume_larger_than_its_claim":     {kube.Claim{Request: 10 * gi, Capacity: 30 * gi}, true},
		"as_large_as_the_settings_say":     {kube.Claim{Request: 20 * gi, Capacity: 20 * gi}, false},
		"grown_by_hand_is_not_shrunk":      {kube.Claim{Request: 30 * gi, Capacity: 30 * gi}, false},
		"growing_already":                  {kube.Claim{Request: 20 * gi, Capacity: 10 * gi}, false},
		"not_bound_cannot_be_resized":      {kube.Claim{Request: 10 * gi}, false},
		"going_away":                       {kube.Claim{Request: 10 * gi, Capacity: 10 * gi, Deleting: true}, false},
		"unknown_request_is_not_a_request": {kube.Claim{Capacity: 10 * gi}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := len(tooSmall([]kube.Claim{c.claim}, 20*gi)) == 1; got != c.want {
				t.Errorf("grows: got %v, want %v", got, c.want)
			}
		})
	}
}
