package target

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Profiler is a target whose CPU can be profiled while it works. Only one that was built for it does so.
type Profiler interface {
	// StartProfile begins a profile; it is no error where none is wanted.
	StartProfile() error
	// StopProfile ends it and returns when it is written.
	StopProfile(ctx context.Context) error
}

// profileEnv names the file that a server built by BuildProfiled writes its profile to.
const profileEnv = "BENCH_CPUPROFILE"

// addition is what BuildProfiled adds to the server's command: the server itself has no way to be profiled, since nobody but
// benchmarks needs it.
const addition = `package main

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

func init() {
	path := os.Getenv("` + profileEnv + `")
	if path == "" || len(os.Args) < 2 || os.Args[1] != "serve" {
		return
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		var f *os.File
		for s := range asked {
			if s == syscall.SIGUSR1 && f == nil {
				f, _ = os.Create(path + ".part")
				_ = pprof.StartCPUProfile(f)
			}
			if s == syscall.SIGUSR2 && f != nil {
				pprof.StopCPUProfile()
				_ = f.Close()
				_ = os.Rename(path+".part", path)
				f = nil
			}
		}
	}()
}
`

// BuildProfiled builds the tree's server with the addition and returns the binary in dir. The working directory must be in
// this module.
func BuildProfiled(ctx context.Context, dir string) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	source, overlay, bin := filepath.Join(dir, "profile.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "tidings-profiled")
	if err := os.WriteFile(source, []byte(addition), 0o600); err != nil {
		return "", err
	}
	replace := map[string]map[string]string{"Replace": {filepath.Join(root, "cmd", "tidings", "profile_for_bench.go"): source}}
	b, err := json.Marshal(replace)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", bin, "./cmd/tidings")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server for profiles: %w\n%s", err, out)
	}
	return bin, nil
}

// StartProfile asks the server to begin.
func (t *tidings) StartProfile() error {
	if t.opts.Profile == "" {
		return nil
	}
	return syscall.Kill(t.srv.PID(), syscall.SIGUSR1)
}

// StopProfile asks the server to end, and waits for the file.
func (t *tidings) StopProfile(ctx context.Context) error {
	if t.opts.Profile == "" {
		return nil
	}
	if err := syscall.Kill(t.srv.PID(), syscall.SIGUSR2); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(t.opts.Profile); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no profile %s: %w", t.opts.Profile, ctx.Err())
		case <-tick.C:
		}
	}
}
