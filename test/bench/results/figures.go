package results

import (
	"slices"
	"strconv"
)

// Spread is how a figure came out over its repetitions.
type Spread struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf describes values, which may be in any order. Of none at all there is nothing to say: N is 0.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(values))
	return Spread{N: len(s), Median: Round(quantile(s, 0.5)), P95: Round(quantile(s, 0.95)), Min: Round(s[0]), Max: Round(s[len(s)-1])}
}

// quantile is interpolated between neighbours.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// Round keeps four significant digits: more would claim a precision that no benchmark has.
func Round(v float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return v // not a number
	}
	return rounded
}

// Line is a line of least squares, y = A + B·x.
type Line struct {
	A  float64 `json:"a"`
	B  float64 `json:"b"`
	R2 float64 `json:"r2"` // share of the spread of y that the line explains
}

// Fit finds the line through three points or more; through fewer any line goes, and it reports false.
func Fit(x, y []float64) (Line, bool) {
	if len(x) < 3 || len(x) != len(y) {
		return Line{}, false
	}
	n := float64(len(x))
	var sx, sy, sxx, sxy, syy float64
	for i := range x {
		sx, sy, sxx, sxy, syy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i], syy+y[i]*y[i]
	}
	across, up := n*sxx-sx*sx, n*syy-sy*sy
	if across == 0 || up == 0 {
		return Line{}, false
	}
	b := (n*sxy - sx*sy) / across
	return Line{A: (sy - b*sx) / n, B: b, R2: (n*sxy - sx*sy) * (n*sxy - sx*sy) / (across * up)}, true
}
