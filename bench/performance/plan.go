package main

import (
	"cmp"
	"fmt"
	"time"

	"tidings/bench/scenario"
)

// step is one load on one or more servers.
type step struct {
	Name    string          `json:"name"`
	Mode    string          `json:"mode"`
	Targets []string        `json:"targets"`
	Rounds  int             `json:"rounds"`
	Config  scenario.Config `json:"config"`
	profile bool            // run once more on a server that profiles itself
}

var (
	ours = []string{"tidings"}
	all  = []string{"tidings", "mosquitto", "mochi"}
)

// sizes are what a quick run makes smaller.
type sizes struct {
	phase, growthPhase, warmup   time.Duration
	flatWarmup                   time.Duration // for buffers and caches to reach the size that they keep
	idle, reconnect, flat        int
	offline, drain, waiting      int
	kills, drainDevices          int
	users, groups, chats, stored []int
}

var (
	fullSizes = sizes{
		phase: 10 * time.Second, growthPhase: 5 * time.Second, warmup: 2 * time.Second, flatWarmup: 2 * time.Minute,
		idle: 5000, reconnect: 5000, flat: 20_000,
		offline: 200_000, drain: 50_000, waiting: 1_000_000, kills: 20, drainDevices: 500,
		users:  []int{10, 100, 1000},
		groups: []int{10, 100, 1000, 5000},
		chats:  []int{1, 10, 100, 1000, 5000},
		stored: []int{1000, 10_000, 100_000, 1_000_000},
	}
	quickSizes = sizes{
		phase: time.Second, growthPhase: 500 * time.Millisecond, warmup: 300 * time.Millisecond, flatWarmup: time.Second,
		idle: 500, reconnect: 500, flat: 500,
		offline: 20_000, drain: 5000, waiting: 50_000, kills: 2, drainDevices: 50,
		users:  []int{10, 100},
		groups: []int{10, 100},
		chats:  []int{1, 100},
		stored: []int{1000, 10_000},
	}
)

// tenMillion is the size that is measured only when asked for.
const tenMillion = 10_000_000

// plan lists all steps. A full one takes about 50 minutes, 10 of them the flat load.
func plan(o *options) []step {
	s := fullSizes
	rounds, latencyRounds, flat := o.rounds, max(5, o.rounds), o.flat
	if o.quick {
		s, rounds, latencyRounds, flat = quickSizes, 1, 1, 3*time.Second
	}
	cfg := func(c scenario.Config) scenario.Config {
		c.Size = 256
		c.Warmup = cmp.Or(c.Warmup, s.warmup)
		c.Duration = cmp.Or(c.Duration, s.phase)
		return c
	}
	steps := []step{
		{"chat", "chat", all, rounds, cfg(scenario.Config{Users: 200, Window: 8, Rate: -1}), true},
		{"paced", "chat", all, latencyRounds, cfg(scenario.Config{Users: 200, Window: -1, Rate: 2000}), true},
		{"group", "group", all, rounds, cfg(scenario.Config{Users: 500, Senders: 4, Window: 8, Rate: -1}), true},
		{"last", "group", all, rounds, cfg(scenario.Config{Users: 500, Senders: 4, Window: -1, Rate: 10}), true},
		{"offline", "offline", all, rounds, cfg(scenario.Config{Users: 1000, Senders: 100, Window: 64, Messages: s.offline}), true},
		{"drain", "drain", all, rounds, cfg(scenario.Config{Users: s.drainDevices, Senders: 50, Window: 64, Messages: s.drain}), true},
		{"waiting", "waiting", ours, rounds, cfg(scenario.Config{Users: 10_000, Senders: 100, Window: 64, Messages: s.waiting}), false},
		{"idle", "idle", all, rounds, cfg(scenario.Config{Users: s.idle}), false},
		{"idle-web", "idle", ours, rounds, cfg(scenario.Config{Users: s.idle, Web: true}), false},
		{"reconnect", "reconnect", all, rounds, cfg(scenario.Config{Users: s.reconnect}), true},
		{"crash", "crash", ours, 1, cfg(scenario.Config{Users: 200, Window: 8, Kills: s.kills, Duration: min(2*time.Second, s.phase)}), false},
		{"overload", "overload", ours, rounds, cfg(scenario.Config{Users: 200, Window: 8, Light: 20}), true},
	}
	growing := func(c scenario.Config) scenario.Config {
		c.Duration = s.growthPhase
		return cfg(c)
	}
	for _, n := range s.users {
		steps = append(steps, step{fmt.Sprintf("users-%d", n), "chat", all, rounds, growing(scenario.Config{Users: n, Window: 8, Rate: -1}), false})
	}
	for _, n := range s.groups {
		steps = append(steps, step{fmt.Sprintf("group-%d", n), "group", all, rounds, growing(scenario.Config{Users: n, Senders: 4, Window: 8, Rate: 10}), false})
	}
	for _, n := range s.chats {
		steps = append(steps, step{fmt.Sprintf("chats-%d", n), "chats", ours, rounds, growing(scenario.Config{Users: 20, Chats: n, Window: 16}), false})
	}
	for _, n := range s.stored {
		steps = append(steps, storedStep(n, rounds, growing))
	}
	if o.tenMillion {
		steps = append(steps, storedStep(tenMillion, 1, growing))
	}
	return append(steps, step{"flat", "flat", ours, 1, cfg(scenario.Config{Users: s.flat, Rate: 2000, Warmup: s.flatWarmup, Duration: flat}), false})
}

func storedStep(n, rounds int, cfg func(scenario.Config) scenario.Config) step {
	return step{fmt.Sprintf("stored-%d", n), "stored", ours, rounds, cfg(scenario.Config{
		Users: 1000, Senders: 100, Window: 64, Messages: n, Rate: 2000,
	}), false}
}
