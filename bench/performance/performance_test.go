package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidings/bench/machine"
	"tidings/bench/profile"
	"tidings/bench/scenario"
)

// run makes a result of pairs of figure and value.
func ran(target string, figures map[string]float64) *scenario.Result {
	r := &scenario.Result{Target: target}
	for name, v := range figures {
		r.Values = append(r.Values, scenario.Value{Name: name, Value: v})
	}
	return r
}

// sample is a run in which some bounds are kept and others are not.
func sample() *data {
	chat := func(target string, rate, cpu float64) *scenario.Result {
		return ran(target, map[string]float64{
			"saturated.messages": rate, "saturated.server_cpu": cpu, "saturated.load_cpu": 2, "saturated.machine_idle": 4, "lost": 0,
		})
	}
	paced := func(target string, p50, p99 float64) *scenario.Result {
		return ran(target, map[string]float64{"paced.receive_p50": p50, "paced.receive_p99": p99, "paced.puback_p99": p99 + 1})
	}
	flat := ran("tidings", map[string]float64{
		"connections": 500, "rss_growth": 1, "heap_least_growth": -3, "goroutines_growth": 0, "files_growth": 0,
	})
	flat.Series = []scenario.Series{{Name: "rss", Points: [][2]float64{{0, 100}, {1, 101}}}}
	return &data{
		Begun: time.Unix(0, 0).UTC(), Machine: machine.Machine{Cores: 2},
		Steps: []*stepData{
			{
				step:    step{Name: "chat", Targets: all, Rounds: 3},
				Results: []*scenario.Result{chat("tidings", 100_000, 8), chat("mosquitto", 60_000, 12), chat("mochi", 30_000, 20), chat("tidings", 120_000, 8), chat("tidings", 1, 9)},
				Profile: &profile.Profile{Sampled: 4000, Shares: []profile.Share{{Work: "sockets", Percent: 60}, {Work: "other", Percent: 1}}},
			},
			{step: step{Name: "paced"}, Results: []*scenario.Result{paced("tidings", 0.5, 4), paced("mochi", 0.1, 2)}, Failures: []string{"round 2 on mochi: refused"}},
			{step: step{Name: "crash"}, Results: []*scenario.Result{ran("tidings", map[string]float64{
				"kills": 20, "acked": 1_234_567, "lost": 1, "oldest_duplicate": 180, "duplicates_per_kill_p50": 5, "duplicates_per_kill_max": 9,
			})}},
			{step: step{Name: "flat", Config: scenario.Config{Users: 20_000, Rate: 2000, Duration: time.Minute}}, Results: []*scenario.Result{flat}},
			{step: step{Name: "users-10"}, Results: []*scenario.Result{chat("tidings", 50_000, 9), chat("mochi", 10_000, 9)}},
			{step: step{Name: "users-1000"}, Results: []*scenario.Result{chat("tidings", 100_000, 9), chat("mochi", 20_000, 9)}},
		},
	}
}

func TestFindingsSayWhatIsKept(t *testing.T) {
	got := map[string][2]verdict{}
	for _, f := range sample().findings() {
		got[f.figure] = [2]verdict{f.mustMet, f.targetMet}
	}
	for figure, want := range map[string][2]verdict{
		"1:1, 200 users, 8 in flight each":                        {yes, no},  // 100,000 is 1.67 × mosquitto and 3.3 × mochi
		"server CPU per message at saturation":                    {yes, yes}, // 8 is 0.4 × 20
		"publish → receive at 2,000/s, p50":                       {yes, no},
		"publish → receive at 2,000/s, p99":                       {yes, no}, // 2 ms more
		"PUBACK at 2,000/s, p99":                                  {yes, no},
		"acked and lost, kill -9 under full load":                 {no, no},
		"what comes again after kill -9":                          {yes, none},
		"growth over the flat load, last third against first":     {yes, none},
		"group of 500, deliveries":                                {unknown, unknown},
		"ready after kill -9 with 1,000,000 stored":               {unknown, unknown},
		"throughput at twice the sustainable rate":                {unknown, unknown},
		"latency of other users' light traffic then, p50":         {unknown, unknown},
		"5,000 devices reconnect and subscribe, with token check": {unknown, unknown},
	} {
		if got[figure] != want {
			t.Errorf("%s: %q, want %q", figure, got[figure], want)
		}
	}
}

func TestBoundsOfTheTable(t *testing.T) {
	s := &stepData{step: step{Name: "group"}}
	d := &data{Steps: []*stepData{s}}
	for _, tt := range []struct {
		ours         float64
		must, target verdict
	}{{199, no, no}, {200, yes, no}, {400, yes, yes}} {
		s.Results = []*scenario.Result{
			ran("tidings", map[string]float64{"saturated.deliveries": tt.ours}), ran("mochi", map[string]float64{"saturated.deliveries": 100}),
		}
		f := d.ratio("group", "group", "saturated.deliveries", "/s", bound{2, 4, true})
		if f.mustMet != tt.must || f.targetMet != tt.target {
			t.Errorf("%v × 100: %s, %s", tt.ours, f.mustMet, f.targetMet)
		}
	}
}

func TestDocument(t *testing.T) {
	d := sample()
	dir := t.TempDir()
	doc, pictures := filepath.Join(dir, "performance.md"), filepath.Join(dir, "performance")
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(pictures, "stale.svg")
	if err := os.WriteFile(stale, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.save(pictures); err != nil {
		t.Fatal(err)
	}
	if err := d.write(doc, pictures); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{
		"**1.67 × mosquitto, 3.33 × bare mochi** (100,000/s [1–120,000] against 60,000/s and 30,000/s)",
		"- **Missed**: acked and lost, kill -9 under full load.",
		"group of 500, deliveries; ",
		"crash: lost 1",
		"paced, round 2 on mochi: refused",
		"the machine was idle for 4 % of the time: the CPU bounds it",
		"Of the server's CPU time, sockets took 60 %.",
		"From 10 to 1,000 the first column changes by a factor of 2.00.",
		"20,000 were asked for",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the document does not say %q", want)
		}
	}
	if strings.Contains(text, "QUICK") || strings.Contains(text, "%!") {
		t.Error("the document says QUICK of a full run, or a sentence is broken")
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("a picture of an earlier run is still there")
	}
	checkPictures(t, text, dir)
}

// checkPictures fails unless every picture in the text is a well-formed file.
func checkPictures(t *testing.T, text, dir string) {
	t.Helper()
	links := regexp.MustCompile(`!\[[^]]+\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1)
	if len(links) < 3 {
		t.Fatalf("%d pictures", len(links))
	}
	for _, l := range links {
		f, err := os.Open(filepath.Join(dir, l[1]))
		if err != nil {
			t.Fatal(err)
		}
		dec := xml.NewDecoder(f)
		for err == nil {
			_, err = dec.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", l[1], err)
		}
		f.Close()
	}
}

func TestQuickRunSaysSoFirst(t *testing.T) {
	d := &data{Quick: true}
	first := strings.Join(strings.SplitN(string(d.document("x")), "\n", 6)[:4], " ")
	if !strings.Contains(first, "QUICK run") {
		t.Errorf("the document begins with %q", first)
	}
}

func TestDataIsReadAsItWasWritten(t *testing.T) {
	d, dir := sample(), t.TempDir()
	if err := d.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := readData(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(d.document("x")), string(got.document("x"))); diff != "" {
		t.Errorf("document of what was read (-want +got):\n%s", diff)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1.234: "1.23", 12.34: "12.3", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234567: "-1,234,567", -0.5: "-0.50",
	} {
		if got := number(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
}

func TestPlans(t *testing.T) {
	for _, o := range []options{{rounds: 3, flat: time.Minute, tenMillion: true}, {quick: true}} {
		names := map[string]bool{}
		for _, s := range plan(&o) {
			if names[s.Name] || s.Rounds < 1 || !slices.Contains(scenario.Modes(), s.Mode) || s.Config.Size != 256 {
				t.Errorf("step %+v", s)
			}
			names[s.Name] = true
			if !o.quick && s.Name == "paced" && s.Rounds < 5 {
				t.Errorf("%d rounds of latencies", s.Rounds)
			}
		}
		if names["stored-10000000"] != o.tenMillion {
			t.Errorf("ten million messages: %v", names["stored-10000000"])
		}
	}
}
