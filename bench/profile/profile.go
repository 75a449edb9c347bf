// Package profile says what a server's CPU time went to, in words that a reader of a report knows: it sorts the samples of a
// Go CPU profile by the functions on their stacks.
package profile

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// Profile is what a server's CPU time went to.
type Profile struct {
	Sampled float64 `json:"sampled_ms"` // CPU time in the profile, in milliseconds
	Shares  []Share `json:"shares"`     // the largest first
}

// Share is what one kind of work took.
type Share struct {
	Work    string  `json:"work"`
	Percent float64 `json:"percent"`
}

// kind is a kind of work and what marks it: a piece of a function's name, anywhere on the stack.
type kind struct {
	work  string
	marks []string
}

// kinds in the order in which they are tried, from what is called in many places to what calls.
var kinds = []kind{
	{"garbage collection", []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}},
	{"store: flushes and compactions", []string{
		"pebble/v2.(*DB).flush1", "pebble/v2.(*DB).flush", "pebble/v2.(*DB).compact", "pebble/v2.(*DB).runCompaction", "compact.(*Runner)", "obsolete",
	}},
	{"store: write-ahead log and its sync", []string{"pebble/v2/record.", "pebble/v2/wal.", "vfs.(*syncingFile)", "fdatasync", "Fdatasync"}},
	{"store: write buffer", []string{"pebble/v2.(*commitPipeline)", "pebble/v2.(*memTable)", "pebble/v2.(*Batch)", "internal/arenaskl", "pebble/v2.(*DB).Apply"}},
	{"store: reading", []string{"pebble/v2"}},
	{"scheduling and waking", []string{
		"runtime.schedule", "runtime.findRunnable", "runtime.mcall", "runtime.mstart", "runtime.park_m", "runtime.sysmon",
		"runtime.ready", "runtime.futex",
	}},
	{"sockets", []string{"internal/runtime/syscall.Syscall6", "internal/runtime/syscall/linux.Syscall6", "syscall.Syscall", "syscall.RawSyscall", "unix.EpollWait"}},
	{"tidings: store's driver", []string{"tidings/storage"}},
	{"tidings: engine", []string{"tidings/delivery.", "tidings/chat.", "tidings/topics", "tidings/hooks"}},
	{"tidings: carrier", []string{"tidings/broker."}},
}

// Of reads the CPU profile of a binary by `go tool pprof`.
func Of(ctx context.Context, binary, profile string) (*Profile, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "pprof", "-unit=ms", "-traces", binary, profile)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read profile: %w: %s", err, stderr.Bytes())
	}
	return shares(out)
}

// shares sorts the traces that pprof prints: blocks between lines of dashes, in each the time before the innermost function
// and then the functions that called it.
func shares(traces []byte) (*Profile, error) {
	sums := map[string]float64{}
	total := 0.0
	var stack []string
	var took float64
	end := func() {
		if len(stack) > 0 {
			sums[workOf(stack)] += took
			total += took
		}
		stack, took = nil, 0
	}
	begun := false
	lines := bufio.NewScanner(bytes.NewReader(traces))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "-----------+") {
			end()
			begun = true
			continue
		}
		fields := strings.Fields(line)
		if !begun || len(fields) == 0 {
			continue
		}
		if v, ok := strings.CutSuffix(fields[0], "ms"); len(stack) == 0 && len(fields) > 1 && (ok || v == "0") {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return nil, fmt.Errorf("trace line %q: %w", line, err)
			}
			took, fields = n, fields[1:]
		}
		stack = append(stack, fields[0])
	}
	end()
	if total == 0 {
		return nil, fmt.Errorf("the profile has no samples")
	}
	var all []Share
	for work, sum := range sums {
		all = append(all, Share{work, 100 * sum / total})
	}
	slices.SortFunc(all, func(a, b Share) int { return cmp.Or(cmp.Compare(b.Percent, a.Percent), cmp.Compare(a.Work, b.Work)) })
	return &Profile{total, all}, lines.Err()
}

// workOf names the kind of work of a stack.
func workOf(stack []string) string {
	for _, k := range kinds {
		for _, mark := range k.marks {
			if slices.ContainsFunc(stack, func(f string) bool { return strings.Contains(f, mark) }) {
				return k.work
			}
		}
	}
	return "other"
}
