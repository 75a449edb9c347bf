// Package machine says what a benchmark ran on: hardware, system, limits, and how long the disk takes to make a write
// durable. It reads Linux's /proc and /sys; elsewhere, what it cannot find out is left empty.
package machine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Machine is what a run depends on and does not measure.
type Machine struct {
	CPU       string `json:"cpu"`   // model name
	Cores     int    `json:"cores"` // that the system shows
	RAM       int64  `json:"ram"`   // bytes
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	Commit    string `json:"commit"` // of the tree, with "-dirty" where files differ from it
	Mosquitto string `json:"mosquitto"`
	Disk      Disk   `json:"disk"`
	Files     uint64 `json:"files"` // limit of open files per process
	Load      string `json:"load"`  // load averages when the run began
}

// Disk is where the data directories of a run are.
type Disk struct {
	Device     string `json:"device"`
	FileSystem string `json:"file_system"`
	Kind       string `json:"kind"` // what the kernel says of it: rotating or not
	Fsync      Fsync  `json:"fsync"`
}

// Fsync is how long appending 4 KiB to a file and making it durable took.
type Fsync struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// Read describes this machine. dir is a directory on the disk that the run will use; its fsync is measured, which takes
// about a second on a slow disk.
func Read(ctx context.Context, dir string) (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	m.CPU = field("/proc/cpuinfo", "model name")
	if kib, _, ok := strings.Cut(field("/proc/meminfo", "MemTotal"), " "); ok {
		n, _ := strconv.ParseInt(kib, 10, 64) // 0 says that it is not known
		m.RAM = n << 10
	}
	m.Kernel = strings.TrimSpace(read("/proc/sys/kernel/osrelease"))
	m.Commit = output(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12")
	m.Mosquitto = mosquitto(ctx)
	if l := strings.Fields(read("/proc/loadavg")); len(l) >= 3 {
		m.Load = strings.Join(l[:3], " ")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		m.Files = limit.Max
	}
	m.Disk = diskOf(dir)
	var err error
	m.Disk.Fsync, err = measureFsync(ctx, dir, 300)
	return m, err
}

// mosquitto's version is in the first line of its help, which ends with an exit code that is no failure.
func mosquitto(ctx context.Context) string {
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		bin = "/usr/sbin/mosquitto"
	}
	out, _ := exec.CommandContext(ctx, bin, "-h").Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "mosquitto version"))
}

func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// field returns the value of the first line "name : value" of a file.
func field(path, name string) string {
	for line := range strings.SplitSeq(read(path), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// diskOf finds the mount that dir is below.
func diskOf(dir string) (d Disk) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return d
	}
	longest := -1
	lines := bufio.NewScanner(strings.NewReader(read("/proc/self/mounts")))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 3 {
			continue
		}
		rel, err := filepath.Rel(f[1], abs)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") || len(f[1]) < longest {
			continue
		}
		longest = len(f[1])
		d.Device, d.FileSystem = f[0], f[2]
	}
	switch strings.TrimSpace(read("/sys/block/" + filepath.Base(d.Device) + "/queue/rotational")) {
	case "0":
		d.Kind = "not rotating"
	case "1":
		d.Kind = "rotating, says the kernel (virtual disks often claim it)"
	}
	return d
}

// measureFsync appends and syncs n times, in the manner of a log.
func measureFsync(ctx context.Context, dir string, n int) (Fsync, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return Fsync{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	took := make([]time.Duration, 0, n)
	block := make([]byte, 4096)
	for range n {
		if ctx.Err() != nil {
			return Fsync{}, ctx.Err()
		}
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return Fsync{}, err
		}
		if err := f.Sync(); err != nil {
			return Fsync{}, fmt.Errorf("fsync: %w", err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Fsync{Count: n, P50: ms(took[n/2]), P99: ms(took[n*99/100]), Max: ms(took[n-1])}, nil
}
