package lsn

import (
	"encoding/json"
	"testing"
)

func TestParse(t *testing.T) {
	good := map[string]LSN{"0/0": 0, "16/B374D848": 0x16B374D848, "FFFFFFFF/FFFFFFFF": ^LSN(0), "0/3000060": 0x3000060}
	for in, want := range good {
		got, err := Parse(in)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", in, got, err, want)
		}
		if got.String() != in {
			t.Errorf("Parse(%q).String() = %q", in, got)
		}
	}
	for name, in := range map[string]string{
		"trailing_letters": "16/B374D848zz", "half_too_wide": "16/1B374D8480", "no_slash": "16B374D848", "empty": "", "sign": "-1/0", "two_slashes": "1/2/3",
	} {
		t.Run(name+"_is_refused", func(t *testing.T) {
			if got, err := Parse(in); err == nil {
				t.Errorf("Parse(%q) = %v, want an error", in, got)
			}
		})
	}
}

func TestJSONKeepsTheTextForm(t *testing.T) {
	b, err := json.Marshal(LSN(0x16B374D848))
	if err != nil || string(b) != `"16/B374D848"` {
		t.Fatalf("Marshal = %s, %v", b, err)
	}
	var back LSN
	if err := json.Unmarshal(b, &back); err != nil || back != 0x16B374D848 {
		t.Fatalf("Unmarshal = %v, %v", back, err)
	}
}

func TestSubIsNegativeWhenBehind(t *testing.T) {
	if got := LSN(10).Sub(30); got != -20 {
		t.Errorf("Sub = %d, want -20", got)
	}
}
