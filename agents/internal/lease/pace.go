package lease

import "time"

// pace keeps the looks of an observer close behind the renewals of the holder. A lease runs out by the observer's own clock, from when it saw the
// last renewal; whoever looks at any time of the second sees it half a second late on average, and so takes over as much later. Nothing rests on
// it: a look at the wrong time only costs that time.
type pace struct {
	misses int // looks in a row that found no renewal
}

// next is how long to wait for the next look, when renewals come every interval. After a renewal it is a little less than the interval, so that the
// looks creep up on the renewals; a look that comes too early is repeated soon, and ever later while the holder is silent.
func (p *pace) next(renewed bool, interval time.Duration) time.Duration {
	if renewed {
		p.misses = 0
		return interval - interval/50
	}
	p.misses++
	return min(interval, interval/10<<min(p.misses-1, 4))
}
