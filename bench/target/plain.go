package target

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"tidings/internal/mqttest/server"
)

// anonymous is the part of Target that brokers without logins and groups share.
type anonymous struct{}

// Logins invents a device for each user; no password is asked.
func (anonymous) Logins(_ context.Context, users []string) ([]Login, error) {
	logins := make([]Login, len(users))
	for i, u := range users {
		logins[i] = Login{User: u, Device: u + "-1"}
	}
	return logins, nil
}

// Group needs nothing: a group is a topic.
func (anonymous) Group(context.Context, string, []Login) error { return nil }

// Allocations are not told.
func (anonymous) Allocations(context.Context) (float64, bool) { return 0, false }

// mosquitto is Debian's broker: no persistence, no limit on queues, no log.
type mosquitto struct {
	process
	anonymous
}

// Name is mosquitto.
func (*mosquitto) Name() string { return "mosquitto" }

const mosquittoConfig = `listener %s %s
allow_anonymous true
persistence false
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 64
set_tcp_nodelay true
log_dest none
user root
`

// Start writes the configuration and runs mosquitto from PATH or /usr/sbin.
func (m *mosquitto) Start(ctx context.Context, dir string) error {
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		bin = "/usr/sbin/mosquitto" // not on every user's PATH
	}
	if _, err := os.Stat(bin); err != nil {
		return fmt.Errorf("mosquitto is not installed (Debian package mosquitto): %w", err)
	}
	addr, err := server.FreeAddr()
	if err != nil {
		return err
	}
	host, port := splitAddr(addr)
	conf := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, mosquittoConfig, port, host), 0o600); err != nil {
		return err
	}
	// mosquitto does not raise its limit of open files by itself, as the Go runtime does.
	return m.start(ctx, dir, addr, "/bin/sh", "-c", `ulimit -n "$(ulimit -Hn)"; exec "$0" -c "$1"`, bin, conf)
}

// mochi is a bare mochi-mqtt server: what its library does without anything of ours.
type mochi struct {
	process
	anonymous
}

// Name is mochi.
func (*mochi) Name() string { return "mochi" }

// Start builds bench/mochi and runs it; the working directory must be in this module.
func (m *mochi) Start(ctx context.Context, dir string) error {
	addr, err := server.FreeAddr()
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "mochi")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "tidings/bench/mochi").CombinedOutput(); err != nil {
		return fmt.Errorf("build bench/mochi: %w\n%s", err, out)
	}
	return m.start(ctx, dir, addr, bin, "-addr", addr)
}
