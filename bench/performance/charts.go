package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tidings/bench/svg"
)

// picture is a chart and the name of its file, without ".svg".
type picture struct {
	file  string
	chart svg.Chart
}

// pictures are all charts for which there are figures.
func (d *data) pictures() []picture {
	var all []picture
	add := func(file string, c svg.Chart) {
		for _, l := range c.Lines {
			if len(l.Points) > 0 {
				all = append(all, picture{file, c})
				return
			}
		}
	}
	add("users", svg.Chart{
		Title: "1:1 throughput by number of users", X: "users, 8 publishes in flight each", Y: "messages/s", LogX: true,
		Lines: d.byServer("users", "saturated.messages"),
	})
	add("users-cpu", svg.Chart{
		Title: "Server CPU per message by number of users", X: "users", Y: "µs/message", LogX: true,
		Lines: d.byServer("users", "saturated.server_cpu"),
	})
	add("group", svg.Chart{
		Title: "Group deliveries by size of the group", X: "members", Y: "deliveries/s", LogX: true,
		Lines: d.byServer("group", "saturated.deliveries"),
	})
	add("group-last", svg.Chart{
		Title: "Time until the last member has a message, at 10 messages/s, p50", X: "members", Y: "ms", LogX: true, LogY: true,
		Lines: d.byServer("group", "paced.last_receiver_p50"),
	})
	add("chats", svg.Chart{
		Title: "A device with many chats comes back: time until it has what is new", X: "chats of its user", Y: "ms", LogX: true,
		Lines: []svg.Line{{Name: "message, p50", Points: d.growth("chats", "tidings", "message_p50")}, {Name: "SUBACK, p50", Points: d.growth("chats", "tidings", "subscribed_p50")}},
	})
	add("stored-ready", svg.Chart{
		Title: "Ready after kill -9 by stored messages", X: "stored messages", Y: "ms", LogX: true,
		Lines: []svg.Line{{Name: "ready", Points: d.growth("stored", "tidings", "ready")}, {Name: "CPU time of it", Points: d.growth("stored", "tidings", "ready_cpu")}},
	})
	add("stored-memory", svg.Chart{
		Title: "Resident memory after a restart by stored messages", X: "stored messages", Y: "MiB", LogX: true,
		Lines: []svg.Line{{Name: "RSS", Points: d.growth("stored", "tidings", "rss_restarted")}},
	})
	add("stored-throughput", svg.Chart{
		Title: "1:1 throughput after a restart by stored messages", X: "stored messages", Y: "messages/s", LogX: true,
		Lines: []svg.Line{{Name: "1:1", Points: d.growth("stored", "tidings", "saturated.messages")}, {Name: "into inboxes", Points: d.growth("stored", "tidings", "messages")}},
	})
	flat, over := d.step("flat"), d.step("overload")
	add("flat", svg.Chart{
		Title: "Memory under the flat load", X: "s", Y: "MiB",
		Lines: []svg.Line{{Name: "RSS", Points: flat.series("rss")}, {Name: "heap in use", Points: flat.series("heap_inuse")}, {Name: "write buffer", Points: flat.series("memtable")}},
	})
	add("overload", svg.Chart{
		Title: "Taken and delivered by offered rate", X: "offered messages/s", Y: "messages/s",
		Lines: []svg.Line{
			{Name: "taken", Points: over.series("offered_taken")},
			{Name: "delivered", Points: over.series("offered_delivered")},
			{Name: "as offered", Points: diagonal(over.series("offered_taken")), Dashed: true},
		},
	})
	add("overload-memory", svg.Chart{
		Title: "Resident memory at twice the sustainable rate", X: "s", Y: "MiB",
		Lines: []svg.Line{{Name: "RSS", Points: over.series("overload_rss")}},
	})
	return all
}

// byServer is how a figure grows on each server.
func (d *data) byServer(prefix, figure string) []svg.Line {
	var lines []svg.Line
	for _, target := range all {
		lines = append(lines, svg.Line{Name: title(target), Points: d.growth(prefix, target, figure)})
	}
	return lines
}

// growth is a figure by the size in the steps' names.
func (d *data) growth(prefix, target, figure string) [][2]float64 {
	var points [][2]float64
	for _, s := range d.sized(prefix) {
		if v, ok := s.median(target, figure); ok {
			points = append(points, [2]float64{s.size(), v})
		}
	}
	return points
}

// size is the number at the end of a step's name.
func (s *stepData) size() float64 {
	n, err := strconv.ParseFloat(s.Name[strings.LastIndexByte(s.Name, '-')+1:], 64)
	if err != nil {
		return 0
	}
	return n
}

// diagonal is where what is offered is taken, as far as the points reach up.
func diagonal(points [][2]float64) [][2]float64 {
	if len(points) == 0 {
		return nil
	}
	top := 0.0
	for _, p := range points {
		top = max(top, p[1])
	}
	return [][2]float64{{0, 0}, {top, top}}
}

func title(target string) string {
	if target == "mochi" {
		return "bare mochi"
	}
	return target
}

// draw writes all pictures to dir and removes those of an earlier run.
func (d *data) draw(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for _, p := range d.pictures() {
		if err := os.WriteFile(filepath.Join(dir, p.file+".svg"), p.chart.SVG(), 0o644); err != nil {
			return fmt.Errorf("draw %s: %w", p.file, err)
		}
	}
	return nil
}
