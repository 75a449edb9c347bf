// Package scenario holds the loads that servers are measured by, and what each of them measures.
//
// A scenario runs against one freshly started target. It makes its logins, connects them (the fleet), lets messages flow
// and returns figures. Each body carries the time of sending, its sender and that sender's count, so every scenario also
// shows what was lost, doubled or reordered: on Tidings these figures must be 0.
package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings/bench/target"
)

// Config sizes a scenario. Defaults are filled in by Run; not every scenario uses every field.
type Config struct {
	Users    int           `json:"users"`    // chat: connected users; group: receiving members; others: devices
	Senders  int           `json:"senders"`  // group, offline, drain, waiting: users that publish
	Window   int           `json:"window"`   // publishes in flight per sender while saturated
	Size     int           `json:"size"`     // bytes of a message's text
	Rate     float64       `json:"rate"`     // messages/s of the paced phase
	Messages int           `json:"messages"` // offline, drain, waiting: how many in all
	Warmup   time.Duration `json:"warmup"`   // before anything counts
	Duration time.Duration `json:"duration"` // of each measured phase
	Version  byte          `json:"version"`  // MQTT protocol level, 4 or 5
	AllOwn   bool          `json:"all_own"`  // subscribe u/{me}/# (receipts, sent, …) and not only u/{me}
}

// Value is one figure of a result.
type Value struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
}

// Result is what one run of one scenario found.
type Result struct {
	Target string  `json:"target"`
	Mode   string  `json:"mode"`
	Config Config  `json:"config"`
	Values []Value `json:"values"`
}

// scenario is a load with the sizes it has unless told otherwise.
type scenario struct {
	run      func(context.Context, *bench) error
	defaults Config
}

var scenarios = map[string]scenario{
	"chat":      {runChat, Config{Users: 1000, Window: 8, Rate: 2000}},
	"group":     {runGroup, Config{Users: 500, Senders: 4, Window: 8, Rate: 10}},
	"offline":   {runOffline, Config{Users: 1000, Senders: 100, Window: 64, Messages: 200_000}},
	"drain":     {runDrain, Config{Users: 50, Senders: 50, Window: 64, Messages: 50_000}},
	"waiting":   {runWaiting, Config{Users: 10_000, Senders: 100, Window: 64, Messages: 1_000_000}},
	"reconnect": {runReconnect, Config{Users: 5000}},
	"idle":      {runIdle, Config{Users: 5000}},
}

// Modes are the names of all scenarios, sorted.
func Modes() []string { return slices.Sorted(maps.Keys(scenarios)) }

// bench is one run: its target, sizes and what it has found so far.
type bench struct {
	target target.Target
	cfg    Config
	values []Value
	note   func(format string, args ...any)
}

func (b *bench) add(name, unit string, v float64) {
	b.values = append(b.values, Value{name, unit, v})
}

// Run runs the scenario called mode against a started target. note gets a line of progress now and then.
func Run(ctx context.Context, t target.Target, mode string, cfg Config, note func(string, ...any)) (*Result, error) {
	s, ok := scenarios[mode]
	if !ok {
		return nil, fmt.Errorf("no mode %q: want one of %s", mode, strings.Join(Modes(), ", "))
	}
	b := &bench{target: t, cfg: cfg.withDefaults(s.defaults), note: note}
	if err := s.run(ctx, b); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", mode, t.Name(), err)
	}
	return &Result{Target: t.Name(), Mode: mode, Config: b.cfg, Values: b.values}, nil
}

func (c Config) withDefaults(d Config) Config {
	d.Size, d.Warmup, d.Duration, d.Version = 200, 2*time.Second, 10*time.Second, 5
	fill(&c.Users, d.Users)
	fill(&c.Senders, d.Senders)
	fill(&c.Window, d.Window)
	fill(&c.Size, d.Size)
	fill(&c.Rate, d.Rate)
	fill(&c.Messages, d.Messages)
	fill(&c.Warmup, d.Warmup)
	fill(&c.Duration, d.Duration)
	fill(&c.Version, d.Version)
	c.Size = max(c.Size, stampLen)
	return c
}

func fill[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}
