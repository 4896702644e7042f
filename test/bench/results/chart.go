package results

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// Chart is a picture of points and lines over two axes that begin at zero.
type Chart struct {
	Title, X, Y string
	Series      []Series
}

// Series is one colour of a chart.
type Series struct {
	Name   string
	Points [][2]float64
	Line   bool // join the points
	Limit  bool // a goal or a fit, not something measured: dashed, without dots
}

const (
	width, height            = 760, 420
	left, right, top, bottom = 64, 180, 40, 48
)

// colours can be told apart by people who see few of them (Okabe and Ito).
var colours = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"}

// SVG draws the chart.
func (c Chart) SVG() []byte {
	var b bytes.Buffer
	stepX, ticksX := scale(c.most(0))
	stepY, ticksY := scale(c.most(1))
	x := func(v float64) float64 { return left + v/(stepX*float64(ticksX))*(width-left-right) }
	y := func(v float64) float64 { return height - bottom - v/(stepY*float64(ticksY))*(height-top-bottom) }
	text := func(x, y float64, anchor, more, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, html.EscapeString(s))
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	text(left, 22, "start", ` font-size="15"`, c.Title)
	text((left+width-right)/2, height-12, "middle", "", c.X)
	text(16, (top+height-bottom)/2, "middle", fmt.Sprintf(` transform="rotate(-90 16 %d)"`, (top+height-bottom)/2), c.Y)
	for i := range ticksX + 1 {
		text(x(float64(i)*stepX), height-bottom+18, "middle", "", number(float64(i)*stepX))
	}
	for i := range ticksY + 1 {
		at := y(float64(i) * stepY)
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#dddddd"/>`+"\n", left, at, width-right, at)
		text(left-8, at+4, "end", "", number(float64(i)*stepY))
	}
	for i, s := range c.Series {
		colour, dash := colours[i%len(colours)], ""
		if s.Limit {
			dash = ` stroke-dasharray="6 4"`
		}
		if s.Line || s.Limit {
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5"%s points="`, colour, dash)
			for _, p := range s.Points {
				fmt.Fprintf(&b, "%.1f,%.1f ", x(p[0]), y(p[1]))
			}
			b.WriteString(`"/>` + "\n")
		}
		for _, p := range s.Points {
			if !s.Limit {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>`+"\n", x(p[0]), y(p[1]), colour)
			}
		}
		at := float64(top + 10 + 20*i)
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s" stroke-width="3"%s/>`+"\n", width-right+12, at, width-right+34, at, colour, dash)
		text(width-right+40, at+4, "start", "", s.Name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c Chart) most(axis int) float64 {
	most := 0.0
	for _, s := range c.Series {
		for _, p := range s.Points {
			most = max(most, p[axis])
		}
	}
	return most
}

// scale finds a round step, so that 3 to 8 of them reach up to most.
func scale(most float64) (step float64, ticks int) {
	if most <= 0 {
		return 1, 1
	}
	step = math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{0.5, 0.5, 0.4} { // halves and fifths of a power of ten: 1, 0.5, 0.25, 0.1
		if most/step > 3 {
			break
		}
		step *= part
	}
	return step, int(math.Ceil(most / step))
}

func number(v float64) string { return fmt.Sprintf("%.4g", v) }
