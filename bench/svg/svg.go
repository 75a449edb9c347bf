// Package svg draws line charts as SVG: axes with round numbers, linear or logarithmic, a mark for every point, and the name
// of each line beside its end. The output depends on nothing but the chart, so it can be kept under version control.
package svg

import (
	"bytes"
	"fmt"
	"html"
	"slices"
)

// Chart is one picture.
type Chart struct {
	Title string
	X, Y  string // what the axes show, with units
	LogX  bool   // values must be above 0; others are left out
	LogY  bool
	Lines []Line
}

// Line is one named line; its points are drawn in the order of X.
type Line struct {
	Name   string
	Points [][2]float64
	Dashed bool // for what is no measurement, such as a target
}

// Size of the picture and of the margins around the area that is plotted.
const (
	width, height            = 760, 400
	left, right, top, bottom = 80, 150, 44, 56
)

// colours are those of Okabe and Ito, which people see apart who see few colours.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// SVG returns the picture.
func (c *Chart) SVG() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" `+
		`font-family="system-ui, sans-serif" font-size="12" fill="#222">`+"\n", width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="15" font-weight="600">%s</text>`+"\n", left, html.EscapeString(c.Title))
	x, y := c.axes()
	c.grid(&b, x, y)
	c.lines(&b, x, y)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// axes makes scales that hold all points.
func (c *Chart) axes() (x, y axis) {
	var xs, ys []float64
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if c.shows(p) {
				xs, ys = append(xs, p[0]), append(ys, p[1])
			}
		}
	}
	if !c.LogY {
		ys = append(ys, 0) // a linear picture that does not begin at 0 makes much of little
	}
	return newAxis(xs, c.LogX, left, width-right), newAxis(ys, c.LogY, height-bottom, top)
}

// shows says whether a point has a place on the axes.
func (c *Chart) shows(p [2]float64) bool { return (!c.LogX || p[0] > 0) && (!c.LogY || p[1] > 0) }

func (c *Chart) grid(b *bytes.Buffer, x, y axis) {
	for _, t := range y.ticks {
		at := y.at(t)
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", left, at, width-right, at)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left-8, at+4, label(t))
	}
	for _, t := range x.ticks {
		at := x.at(t)
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#eee"/>`+"\n", at, top, at, height-bottom)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", at, height-bottom+18, label(t))
	}
	fmt.Fprintf(b, `<path d="M%d %dV%dH%d" fill="none" stroke="#222"/>`+"\n", left, top, height-bottom, width-right)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-14, html.EscapeString(c.X))
	fmt.Fprintf(b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, html.EscapeString(c.Y))
}

func (c *Chart) lines(b *bytes.Buffer, x, y axis) {
	var names []name
	for i, l := range c.Lines {
		colour := colours[i%len(colours)]
		points := slices.DeleteFunc(slices.Clone(l.Points), func(p [2]float64) bool { return !c.shows(p) })
		if len(points) == 0 {
			continue
		}
		slices.SortStableFunc(points, func(p, q [2]float64) int { return compare(p[0], q[0]) })
		dash := ""
		if l.Dashed {
			dash = ` stroke-dasharray="6 4"`
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2"%s points="`, colour, dash)
		for _, p := range points {
			fmt.Fprintf(b, "%.1f,%.1f ", x.at(p[0]), y.at(p[1]))
		}
		b.WriteString("\"/>\n")
		if len(points) <= 20 && !l.Dashed {
			for _, p := range points {
				fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>%s: %s, %s</title></circle>`+"\n",
					x.at(p[0]), y.at(p[1]), colour, html.EscapeString(l.Name), label(p[0]), label(p[1]))
			}
		}
		names = append(names, name{l.Name, colour, y.at(points[len(points)-1][1])})
	}
	for _, n := range spread(names) {
		fmt.Fprintf(b, `<text x="%d" y="%.1f" fill="%s">%s</text>`+"\n", width-right+10, n.y+4, n.colour, html.EscapeString(n.text))
	}
}

// name is a line's name beside its end.
type name struct {
	text, colour string
	y            float64
}

// spread moves names apart that would cover one another, and into the picture.
func spread(names []name) []name {
	const apart = 15
	slices.SortStableFunc(names, func(a, b name) int { return compare(a.y, b.y) })
	for i := range names {
		if i > 0 {
			names[i].y = max(names[i].y, names[i-1].y+apart)
		}
	}
	for i, limit := len(names)-1, float64(height-bottom); i >= 0; i, limit = i-1, limit-apart {
		names[i].y = min(names[i].y, limit)
	}
	return names
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
