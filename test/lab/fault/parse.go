package fault

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Forms is how faults are written, for help texts.
const Forms = `cut site SITE
cut [--one-way] SITE SITE
cut node NODE
cut api NODE
cut peers NODE
cut from NODE
cut to NODE
kill node NODE
freeze node NODE
stop api SITE
bandwidth SITE SITE RATE          RATE as 100mbit, 512kbit, 1gbit
delay SITE SITE TIME [loss SHARE] TIME as 20ms or 20ms±2ms, SHARE as 0.1%
fill VOLUME SHARE                 SHARE as 100%
slow VOLUME LIMIT                 LIMIT as 20iops, 2MBps, or both with a comma
hang VOLUME                       VOLUME as CLAIM, NAMESPACE/CLAIM or SITE/NAMESPACE/CLAIM`

// Parse reads a fault as it is written on a command line. It knows words, not what the lab has.
func Parse(words []string, oneWay bool) (Fault, error) {
	f, err := parse(words)
	if err != nil {
		return Fault{}, err
	}
	if oneWay && f.Kind != CutSites {
		return Fault{}, fmt.Errorf("only a cut between two sites can be one-way, not %q", f.Kind)
	}
	f.OneWay = oneWay
	return f, nil
}

func parse(words []string) (Fault, error) {
	if len(words) == 0 {
		return Fault{}, errors.New("name a fault")
	}
	rest := words[1:]
	want := func(n int) error {
		if len(rest) != n {
			return fmt.Errorf("%q takes %d more words, not %d; faults are written\n%s", words[0], n, len(rest), Forms)
		}
		return nil
	}
	switch words[0] {
	case "cut":
		if err := want(2); err != nil {
			return Fault{}, err
		}
		return parseCut(rest), nil
	case "kill", "freeze", "stop":
		if err := want(2); err != nil {
			return Fault{}, err
		}
		kind := Kind(words[0] + " " + rest[0])
		if kind != KillNode && kind != FreezeNode && kind != StopAPI {
			return Fault{}, fmt.Errorf("there is no %q; faults are written\n%s", kind, Forms)
		}
		return Fault{Kind: kind, Target: rest[1]}, nil
	case "bandwidth":
		if err := want(3); err != nil {
			return Fault{}, err
		}
		bits, err := parseBits(rest[2])
		return Fault{Kind: Bandwidth, Target: rest[0], Other: rest[1], Path: Path{Bits: bits}}, err
	case "delay":
		return parseDelay(rest)
	case "fill":
		if err := want(2); err != nil {
			return Fault{}, err
		}
		percent, err := strconv.Atoi(strings.TrimSuffix(rest[1], "%"))
		if err != nil || percent < 1 || percent > 100 || !strings.HasSuffix(rest[1], "%") {
			return Fault{}, fmt.Errorf("%q: write how full, 1%% to 100%%", rest[1])
		}
		return Fault{Kind: Fill, Target: rest[0], Percent: percent}, nil
	case "slow":
		if err := want(2); err != nil {
			return Fault{}, err
		}
		return Fault{Kind: Slow, Target: rest[0], Limit: rest[1]}, nil
	case "hang":
		if err := want(1); err != nil {
			return Fault{}, err
		}
		return Fault{Kind: Hang, Target: rest[0]}, nil
	}
	return Fault{}, fmt.Errorf("there is no fault %q; faults are written\n%s", words[0], Forms)
}

// parseCut tells a kind of thing from a site's name. A site that is called as a kind ("node", "to") can only be named second.
func parseCut(words []string) Fault {
	switch kind := Kind("cut " + words[0]); kind {
	case CutSite, CutNode, CutAPI, CutPeers, CutFrom, CutTo:
		return Fault{Kind: kind, Target: words[1]}
	}
	return Fault{Kind: CutSites, Target: words[0], Other: words[1]}
}

func parseDelay(words []string) (Fault, error) {
	if len(words) != 3 && (len(words) != 5 || words[3] != "loss") {
		return Fault{}, fmt.Errorf("a delay is written: delay SITE SITE 20ms±2ms [loss 0.1%%], not %q", strings.Join(words, " "))
	}
	f := Fault{Kind: Delay, Target: words[0], Other: words[1]}
	base, jitter, varies := strings.Cut(words[2], "±")
	var err error
	if f.Path.Delay, err = parseTime(base); err != nil {
		return Fault{}, err
	}
	if varies {
		if f.Path.Jitter, err = parseTime(jitter); err != nil {
			return Fault{}, err
		}
	}
	if f.Path.Jitter > f.Path.Delay {
		return Fault{}, fmt.Errorf("%q: a packet cannot arrive before it was sent; the variation is above the delay", words[2])
	}
	if len(words) == 5 {
		share, percent := strings.CutSuffix(words[4], "%")
		loss, err := strconv.ParseFloat(share, 64)
		if err != nil || !percent || loss < 0 || loss > 100 {
			return Fault{}, fmt.Errorf("%q: write the share of lost packets, 0%% to 100%%", words[4])
		}
		f.Path.Loss = loss / 100
	}
	return f, nil
}

func parseTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > 10*time.Second {
		return 0, fmt.Errorf("%q: write a time up to 10s, as 20ms", text)
	}
	return d, nil
}

// units of rates, the longest first where one ends like another.
var units = []struct {
	suffix string
	bits   int64
}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}}

func parseBits(text string) (int64, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n < 1 {
			break
		}
		return n * u.bits, nil
	}
	return 0, fmt.Errorf("%q: write a rate as 100mbit, 512kbit or 1gbit", text)
}

func formatBits(bits int64) string {
	text := fmt.Sprintf("%dbit", bits)
	for _, u := range units {
		if bits%u.bits == 0 {
			text = fmt.Sprintf("%d%s", bits/u.bits, u.suffix)
		}
	}
	return text
}
