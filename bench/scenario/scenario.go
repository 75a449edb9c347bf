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
	Window   int           `json:"window"`   // publishes in flight per sender while saturated; negative: no such phase
	Size     int           `json:"size"`     // bytes of a message's text
	Rate     float64       `json:"rate"`     // messages/s of the paced phase; negative: no such phase
	Messages int           `json:"messages"` // offline, drain, waiting, stored: how many in all
	Chats    int           `json:"chats"`    // chats: how many each user has
	Kills    int           `json:"kills"`    // crash: how many times the server is killed
	Light    int           `json:"light"`    // overload: users with one message/s beside the load
	Warmup   time.Duration `json:"warmup"`   // before anything counts
	Duration time.Duration `json:"duration"` // of each measured phase
	Version  byte          `json:"version"`  // MQTT protocol level, 4 or 5
	AllOwn   bool          `json:"all_own"`  // subscribe u/{me}/# (receipts, sent, …) and not only u/{me}
	Web      bool          `json:"web"`      // connect by WebSocket
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
	// Series are figures over time, or over another quantity that the scenario varies.
	Series []Series `json:"series,omitempty"`
}

// Series is a figure over a quantity.
type Series struct {
	Name   string       `json:"name"`
	Unit   string       `json:"unit"`
	Over   string       `json:"over"` // what X is, with its unit
	Points [][2]float64 `json:"points"`
}

// Figure returns the value called name and whether the result has it.
func (r *Result) Figure(name string) (float64, bool) {
	for _, v := range r.Values {
		if v.Name == name {
			return v.Value, true
		}
	}
	return 0, false
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
	"drain":     {runDrain, Config{Users: 500, Senders: 50, Window: 64, Messages: 50_000}},
	"waiting":   {runWaiting, Config{Users: 10_000, Senders: 100, Window: 64, Messages: 1_000_000}},
	"reconnect": {runReconnect, Config{Users: 5000}},
	"idle":      {runIdle, Config{Users: 5000}},
	"chats":     {runChats, Config{Users: 20, Chats: 1000, Window: 16}},
	"stored":    {runStored, Config{Users: 1000, Senders: 100, Window: 64, Messages: 1_000_000, Rate: 2000}},
	"crash":     {runCrash, Config{Users: 200, Window: 8, Kills: 20, Duration: 2 * time.Second}},
	"flat":      {runFlat, Config{Users: 20_000, Rate: 2000, Warmup: 30 * time.Second, Duration: 10 * time.Minute}},
	"overload":  {runOverload, Config{Users: 200, Window: 8, Light: 20}},
}

// Modes are the names of all scenarios, sorted.
func Modes() []string { return slices.Sorted(maps.Keys(scenarios)) }

// bench is one run: its target, sizes and what it has found so far.
type bench struct {
	target target.Target
	cfg    Config
	values []Value
	series []Series
	note   func(format string, args ...any)
}

func (b *bench) add(name, unit string, v float64) {
	b.values = append(b.values, Value{name, unit, v})
}

// Run runs the scenario called mode against a started target. note gets a line of progress now and then.
// A scenario that the target is not made for fails with errors.ErrUnsupported.
func Run(ctx context.Context, t target.Target, mode string, cfg Config, note func(string, ...any)) (*Result, error) {
	s, ok := scenarios[mode]
	if !ok {
		return nil, fmt.Errorf("no mode %q: want one of %s", mode, strings.Join(Modes(), ", "))
	}
	b := &bench{target: t, cfg: cfg.withDefaults(s.defaults), note: note}
	if err := s.run(ctx, b); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", mode, t.Name(), err)
	}
	return &Result{Target: t.Name(), Mode: mode, Config: b.cfg, Values: b.values, Series: b.series}, nil
}

func (c Config) withDefaults(d Config) Config {
	d.Size, d.Version = 200, 5
	fill(&d.Warmup, 2*time.Second)
	fill(&d.Duration, 10*time.Second)
	fill(&c.Users, d.Users)
	fill(&c.Senders, d.Senders)
	fill(&c.Window, d.Window)
	fill(&c.Size, d.Size)
	fill(&c.Rate, d.Rate)
	fill(&c.Messages, d.Messages)
	fill(&c.Chats, d.Chats)
	fill(&c.Kills, d.Kills)
	fill(&c.Light, d.Light)
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
