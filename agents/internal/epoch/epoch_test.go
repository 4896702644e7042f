package epoch

import "testing"

func TestCompare(t *testing.T) {
	cases := map[string]struct {
		a, b Epoch
		want int
	}{
		"two_local_failovers_do_not_beat_one_forced_site_failover": {Epoch{5, 7}, Epoch{6, 0}, -1},
		"same":                      {Epoch{1, 2}, Epoch{1, 2}, 0},
		"local_decides_in_one_site": {Epoch{1, 3}, Epoch{1, 2}, 1},
		"anything_beats_never":      {Epoch{0, 1}, Epoch{}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.a.Compare(c.b); got != c.want {
				t.Errorf("%v.Compare(%v) = %d, want %d", c.a, c.b, got, c.want)
			}
			if got := c.b.Compare(c.a); got != -c.want {
				t.Errorf("%v.Compare(%v) = %d, want %d", c.b, c.a, got, -c.want)
			}
		})
	}
}

func TestNextLocalIsNewerAndStaysInTheSite(t *testing.T) {
	e := Epoch{2, 9}
	n := e.NextLocal()
	if n.Compare(e) != 1 || n.Site != 2 {
		t.Errorf("NextLocal of %v = %v", e, n)
	}
}
