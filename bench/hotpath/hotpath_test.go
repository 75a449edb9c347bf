package hotpath_test

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the ratios that were measured to testdata")

// path is one thing that happens to messages. run does it n times and returns when all effects are there.
type path struct {
	name string
	run  func(n int)
}

// rounds is how often each path is measured. The cheapest round counts: noise only adds.
const rounds = 9

// share is the CPU time that a round takes, about.
const share = 15 * time.Millisecond

func TestHotPathsCostNoMoreThanTheyDid(t *testing.T) {
	paths := []path{
		{"draft", parseDrafts},
		{"envelope", appendEnvelopes(t)},
		{"topic", parseTopics},
		{"frame", newFrames(t).publish},
		{"direct message", newEngine(t).message},
	}
	ratios := measure(paths)
	if *update {
		write(t, ratios)
		return
	}
	baseline := read(t)
	for _, p := range paths {
		ratio, was := ratios[p.name], baseline[p.name]
		t.Logf("%-15s %8.4f × the reference loop, was %8.4f", p.name, ratio, was)
		if was <= 0 {
			t.Errorf("%s: no ratio in %s; see the package comment", p.name, baselineFile)
			continue
		}
		if ratio > room*was {
			t.Errorf("%s costs %.2f × the reference loop, %.1f times what it did (%.2f)", p.name, ratio, ratio/was, was)
		}
	}
}

// measure returns what one run of each path costs, in runs of the reference loop. Rounds of all of them take turns.
func measure(paths []path) map[string]float64 {
	all := append([]path{{"", reference}}, paths...)
	counts, least := make([]int, len(all)), make([]float64, len(all))
	for i, p := range all {
		counts[i], least[i] = calibrate(p), math.Inf(1)
	}
	for range rounds {
		for i, p := range all {
			least[i] = min(least[i], cost(p, counts[i])/float64(counts[i]))
		}
	}
	ratios := make(map[string]float64)
	for i, p := range paths {
		ratios[p.name] = least[i+1] / least[0]
	}
	return ratios
}

// calibrate returns how many runs take about share. It also warms the path up.
func calibrate(p path) int {
	for n := 64; ; n *= 2 {
		if took := cost(p, n); took > float64(share)/2 || n > 1<<22 {
			return n
		}
	}
}

// cost is the CPU time of n runs in nanoseconds.
func cost(p path, n int) float64 {
	before := cpu()
	p.run(n)
	return float64(cpu() - before)
}

// cpu is the CPU time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot happen with this argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// kept keeps the compiler from leaving the reference loop out.
var kept uint64

// reference hashes and copies 256 bytes and looks one name up: what a message is made of, without anything of ours.
func reference(n int) {
	src, dst := make([]byte, 256), make([]byte, 0, 256)
	names := map[string]uint64{"alice": 1, "bob": 2, "carol": 3, "dave": 4}
	keys := []string{"alice", "bob", "carol", "dave"}
	for i := range n {
		src[i%256]++
		h := uint64(14695981039346656037)
		for _, b := range src {
			h = (h ^ uint64(b)) * 1099511628211
		}
		dst = append(dst[:0], src...)
		kept += h + names[keys[h%4]] + uint64(dst[i%256])
	}
}

func read(t *testing.T) map[string]float64 {
	t.Helper()
	b, err := os.ReadFile(baselineFile)
	if err != nil {
		t.Fatal(err)
	}
	var ratios map[string]float64
	if err := json.Unmarshal(b, &ratios); err != nil {
		t.Fatalf("%s: %v", baselineFile, err)
	}
	return ratios
}

func write(t *testing.T, ratios map[string]float64) {
	t.Helper()
	for name, r := range ratios {
		ratios[name] = math.Round(r*10_000) / 10_000
	}
	b, err := json.MarshalIndent(ratios, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(baselineFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
