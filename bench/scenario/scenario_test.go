package scenario_test

import (
	"errors"
	"flag"
	"slices"
	"testing"
	"time"

	"tidings/bench/scenario"
	"tidings/bench/target"
)

// figures that each scenario must find.
var figures = map[string][]string{
	"chat":      {"saturated.messages", "saturated.receive_p99", "saturated.puback_p999", "paced.receive_p50", "paced.server_cpu", "rss"},
	"group":     {"saturated.deliveries", "paced.last_receiver_p99"},
	"offline":   {"messages", "puback_p99"},
	"drain":     {"messages", "server_cpu"},
	"waiting":   {"rss_empty", "rss_growth_100", "slope"},
	"reconnect": {"time", "reconnects"},
	"idle":      {"per_connection"},
	"chats":     {"return.server_cpu", "subscribed_p50", "message_p99"},
	"stored":    {"messages", "ready", "ready_cpu", "rss_restarted", "disk_per_message", "saturated.messages", "paced.puback_p99"},
	"crash":     {"kills", "acked", "duplicates_per_kill_max", "oldest_duplicate", "ready_max"},
	"flat":      {"connections", "rss_growth", "files_growth"},
	"overload":  {"sustainable", "overload.of_peak", "overload.rss_max", "light.ratio_receive_p50"},
}

// survive are the scenarios that need a server which keeps its messages when it is killed.
var survive = []string{"stored", "crash"}

// TestScenariosRunClean runs each scenario in a small form on the server, which may show no fault.
func TestScenariosRunClean(t *testing.T) {
	runAll(t, "tidings", "lost", "doubled", "reordered", "refused")
}

// TestScenariosRunOnAnother does the same on a broker that reorders what waited for a device.
func TestScenariosRunOnAnother(t *testing.T) {
	runAll(t, "mochi", "lost", "doubled", "refused")
}

func runAll(t *testing.T, name string, faults ...string) {
	for _, mode := range scenario.Modes() {
		t.Run(mode, func(t *testing.T) {
			cfg := scenario.Config{
				Users: 20, Senders: 4, Window: 4, Rate: 100, Messages: 500, Chats: 30, Kills: 2, Light: 2,
				Warmup: 20 * time.Millisecond, Duration: 300 * time.Millisecond,
			}
			r, err := target.Use(t.Context(), name, target.Options{}, func(tg target.Target) (*scenario.Result, error) {
				return scenario.Run(t.Context(), tg, mode, cfg, t.Logf)
			})
			if name != "tidings" && slices.Contains(survive, mode) {
				if !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("error %v, want unsupported", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, v := range r.Values {
				names = append(names, v.Name)
				if slices.Contains(faults, v.Name) && v.Value != 0 {
					t.Errorf("%s = %v", v.Name, v.Value)
				}
			}
			if len(figures[mode]) == 0 {
				t.Errorf("no figures are expected of mode %s: add it above", mode)
			}
			for _, want := range figures[mode] {
				if !slices.Contains(names, want) {
					t.Errorf("no figure %s among %v", want, names)
				}
			}
		})
	}
}

func TestUnknownMode(t *testing.T) {
	if _, err := scenario.Run(t.Context(), nil, "speed", scenario.Config{}, t.Logf); err == nil {
		t.Error("no error")
	}
}

func TestFlagsLeaveDefaultsAlone(t *testing.T) {
	var cfg scenario.Config
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	scenario.Flags(fs, &cfg)
	if err := fs.Parse([]string{"-users", "7", "-mqtt", "3.1.1"}); err != nil {
		t.Fatal(err)
	}
	if want := (scenario.Config{Users: 7, Version: 4}); cfg != want {
		t.Errorf("config %+v, want %+v", cfg, want)
	}
}
