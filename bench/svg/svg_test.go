package svg_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"tidings/bench/svg"
)

// picture is what a test looks for in a drawn chart.
type picture struct {
	texts   []string
	circles [][2]float64
	lines   int
}

// parse fails if the picture is not well-formed or something lies outside of it.
func parse(t *testing.T, c *svg.Chart) (p picture) {
	t.Helper()
	dec := xml.NewDecoder(bytes.NewReader(c.SVG()))
	inText := false
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			inText = e.Name.Local == "text"
			attr := map[string]string{}
			for _, a := range e.Attr {
				attr[a.Name.Local] = a.Value
			}
			if e.Name.Local == "polyline" {
				p.lines++
				for pair := range strings.FieldsSeq(attr["points"]) {
					x, y, _ := strings.Cut(pair, ",")
					inside(t, x, 760)
					inside(t, y, 400)
				}
			}
			if e.Name.Local == "circle" {
				p.circles = append(p.circles, [2]float64{inside(t, attr["cx"], 760), inside(t, attr["cy"], 400)})
			}
			if inText && attr["x"] != "" {
				inside(t, attr["x"], 760)
				inside(t, attr["y"], 400)
			}
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				p.texts = append(p.texts, string(e))
			}
		}
	}
}

func inside(t *testing.T, s string, limit float64) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || v > limit {
		t.Errorf("place %q is outside 0 to %v: %v", s, limit, err)
	}
	return v
}

func TestLinearChart(t *testing.T) {
	p := parse(t, &svg.Chart{
		Title: `a < b & "c"`, X: "time, s", Y: "memory, MiB",
		Lines: []svg.Line{{Name: "rss", Points: [][2]float64{{10, 50}, {0, 100}}}, {Name: "none"}},
	})
	all := strings.Join(p.texts, "|")
	for _, want := range []string{`a < b & "c"`, "time, s", "memory, MiB", "rss", "|0|", "|100|"} {
		if !strings.Contains(all, want) {
			t.Errorf("no text %q in %s", want, all)
		}
	}
	if p.lines != 1 || len(p.circles) != 2 {
		t.Fatalf("%d lines, %d points", p.lines, len(p.circles))
	}
	// Points come in the order of x; more is further up, and 50 is halfway between 100 and the axis.
	first, second := p.circles[0], p.circles[1]
	if first[0] >= second[0] || first[1] >= second[1] {
		t.Errorf("points at %v and %v", first, second)
	}
	const axis = 400 - 56
	if half := (axis - first[1]) / 2; second[1] < axis-half-1 || second[1] > axis-half+1 {
		t.Errorf("50 is at %v where 100 is at %v", second[1], first[1])
	}
}

func TestLogarithmicChart(t *testing.T) {
	p := parse(t, &svg.Chart{
		LogX: true, LogY: true,
		Lines: []svg.Line{{Name: "a", Points: [][2]float64{{10, 1}, {100, 10}, {1000, 100}, {0, 5}, {5, -1}}}},
	})
	if len(p.circles) != 3 {
		t.Fatalf("%d points, want those above 0", len(p.circles))
	}
	a, b, c := p.circles[0], p.circles[1], p.circles[2]
	if d, e := b[0]-a[0], c[0]-b[0]; d < e-1 || d > e+1 {
		t.Errorf("decades are %v and %v wide", d, e)
	}
	if all := strings.Join(p.texts, "|"); !strings.Contains(all, "1k") {
		t.Errorf("no tick 1k in %s", all)
	}
}

func TestNamesDoNotCoverOneAnother(t *testing.T) {
	for _, end := range []float64{0, 0.5, 1} { // of all lines: at the bottom, in the middle, at the top
		c := &svg.Chart{}
		for i := range 7 {
			c.Lines = append(c.Lines, svg.Line{Name: "n" + strconv.Itoa(i), Points: [][2]float64{{0, 1}, {1, end}}})
		}
		checkNames(t, c, 7)
	}
}

// checkNames fails unless the chart has n names that do not cover one another.
func checkNames(t *testing.T, c *svg.Chart, n int) {
	t.Helper()
	var places []float64
	for line := range strings.SplitSeq(string(c.SVG()), "\n") {
		if !strings.HasPrefix(line, `<text x="620"`) {
			continue
		}
		_, rest, _ := strings.Cut(line, `y="`)
		y, _, _ := strings.Cut(rest, `"`)
		places = append(places, inside(t, y, 400))
	}
	if len(places) != n {
		t.Fatalf("%d names", len(places))
	}
	for i := 1; i < len(places); i++ {
		if places[i]-places[i-1] < 12 {
			t.Errorf("names at %v", places)
		}
	}
}

func TestOnePoint(t *testing.T) {
	for _, log := range []bool{false, true} {
		p := parse(t, &svg.Chart{LogX: log, LogY: log, Lines: []svg.Line{{Name: "a", Points: [][2]float64{{1, 1}}}}})
		if len(p.circles) != 1 {
			t.Errorf("log %v: %d points", log, len(p.circles))
		}
	}
	parse(t, &svg.Chart{})
}
