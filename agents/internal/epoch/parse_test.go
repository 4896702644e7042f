package epoch

import "testing"

func TestParseReadsWhatStringWrites(t *testing.T) {
	for _, want := range []Epoch{{}, {1, 1}, {3, 12}, {1<<64 - 1, 1<<64 - 1}} {
		if got, err := Parse(want.String()); err != nil || got != want {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	for _, bad := range []string{"", "1", "1.", ".1", "a.b", "1.2.3", "-1.2", "18446744073709551616.1"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}
