// Package target starts the servers that the load is run against: Tidings, and other brokers to compare with.
//
// All are driven by the same topics: a user publishes to u/{peer} and subscribes u/{me}, a group is g/{name}. For a plain
// broker these are just topics; what Tidings adds (order, durability, devices) it must pay for in the same run.
package target

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Login is what a client needs to connect as one device of a user.
type Login struct{ User, Device, Password string }

// Target is one server under load. Start comes first, Stop last and exactly once; the rest only in between.
type Target interface {
	// Name is what results call it.
	Name() string
	// Start starts the server in dir, an empty directory, and returns when it accepts connections.
	Start(ctx context.Context, dir string) error
	// Stop ends the server. It must work after a failed Start, too.
	Stop()
	// Addr is the MQTT address.
	Addr() string
	// PID is the server's process, 0 where it is out of reach.
	PID() int
	// Logins makes one device for each user. Users that exist are no error.
	Logins(ctx context.Context, users []string) ([]Login, error)
	// Group makes a group of all members, owned by the first.
	Group(ctx context.Context, name string, members []Login) error
	// Allocations is the number of heap allocations so far; ok is false where the server does not tell.
	Allocations(ctx context.Context) (n float64, ok bool)
}

// New returns the target called name: tidings, mosquitto or mochi.
func New(name string, o Options) (Target, error) {
	switch name {
	case "tidings":
		return &tidings{opts: o}, nil
	case "mosquitto":
		return &mosquitto{}, nil
	case "mochi":
		return &mochi{}, nil
	}
	return nil, fmt.Errorf("no target %q: want tidings, mosquitto or mochi", name)
}

// Use starts the target called name in a temporary directory, runs fn against it, stops it and removes the directory.
// The server's log is added to an error.
func Use[T any](ctx context.Context, name string, o Options, fn func(Target) (T, error)) (result T, err error) {
	t, err := New(name, o)
	if err != nil {
		return result, err
	}
	dir, err := os.MkdirTemp("", "bench-"+name+"-")
	if err != nil {
		return result, err
	}
	defer os.RemoveAll(dir)
	defer t.Stop()
	if err = t.Start(ctx, dir); err == nil {
		result, err = fn(t)
	}
	if err != nil {
		if log, _ := os.ReadFile(filepath.Join(dir, "server.log")); len(log) > 0 {
			err = fmt.Errorf("%w\nserver log:\n%s", err, log[max(0, len(log)-4000):])
		}
	}
	return result, err
}

// Options are for the Tidings target. With MQTT set a running server is used instead of starting one; then HTTP and Data
// are those of that server, and PID may be 0 if its use of CPU and memory is not wanted.
type Options struct {
	Bin  string   // the binary; "": $TIDINGS_BIN, else built from the tree
	Args []string // further arguments of serve
	Env  []string // added to the environment of serve
	// Profile is where the server writes a CPU profile of each measured phase, replacing the one before; Bin must come from
	// BuildProfiled then. "": none.
	Profile string
	MQTT    string
	HTTP    string
	Data    string
	PID     int
}

// process is a child that is killed to stop it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	addr string
}

// start runs name with its output in dir/server.log and waits until addr accepts.
func (p *process) start(ctx context.Context, dir, addr, name string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.addr = addr
	p.cmd = exec.Command(name, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return err
	}
	p.done = make(chan struct{})
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p.accepts(ctx, log.Name())
}

func (p *process) accepts(ctx context.Context, log string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", p.addr); err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at once (see %s)", p.cmd.Path, log)
		case <-ctx.Done():
			return fmt.Errorf("%s does not accept at %s: %w", p.cmd.Path, p.addr, ctx.Err())
		case <-tick.C:
		}
	}
}

// Stop kills the process and reaps it.
func (p *process) Stop() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.done
}

// Addr is the MQTT address.
func (p *process) Addr() string { return p.addr }

// PID is the child's process id.
func (p *process) PID() int { return p.cmd.Process.Pid }
