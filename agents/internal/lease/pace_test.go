package lease

import (
	"testing"
	"time"
)

// A holder renews each second, give or take a little; its observer begins at any time. However that is, it soon sees each renewal within a tenth.
func TestLooksFollowTheRenewals(t *testing.T) {
	for begin := time.Duration(0); begin < time.Second; begin += 70 * time.Millisecond {
		var p pace
		at, seen, looks := begin, time.Duration(-1), 0
		for at < 200*time.Second {
			looks++
			// The holder's second is a little longer than the observer's.
			renewal := at / (1003 * time.Millisecond)
			if at > 60*time.Second && renewal != seen {
				if late := at - renewal*1003*time.Millisecond; late > 130*time.Millisecond {
					t.Fatalf("begun at %v: the renewal at %v is seen %v late", begin, renewal*1003*time.Millisecond, late)
				}
			}
			at += p.next(renewal != seen, time.Second)
			seen = renewal
		}
		if looks > 260 {
			t.Errorf("begun at %v: %d looks in 200 s", begin, looks)
		}
	}
}

func TestSilentHolderIsNotAskedMoreOften(t *testing.T) {
	var p pace
	p.next(true, time.Second)
	var waits time.Duration
	for range 20 {
		waits += p.next(false, time.Second)
	}
	if waits < 17*time.Second || p.next(false, time.Second) != time.Second {
		t.Errorf("20 looks within %v", waits)
	}
}
