package target

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"tidings/internal/mqttest/server"
)

// namesPerCall is the most members that one call of group.create or group.add may name.
const namesPerCall = 1000

// tidings is the server of this tree, started as a child or already running.
type tidings struct {
	opts Options
	srv  *server.Server
}

// Name is tidings.
func (*tidings) Name() string { return "tidings" }

// Start starts the server, or only checks the options where one runs already.
func (t *tidings) Start(ctx context.Context, dir string) error {
	cfg := server.Config{Bin: t.opts.Bin, Dir: dir, Args: t.opts.Args, Env: t.opts.Env}
	if t.opts.MQTT != "" {
		cfg.MQTT, cfg.HTTP, cfg.Data = t.opts.MQTT, t.opts.HTTP, t.opts.Data
		if cfg.Data == "" || cfg.HTTP == "" {
			return fmt.Errorf("a running server needs its HTTP address and data directory named, too")
		}
	}
	if t.opts.Profile != "" {
		cfg.Env = append(slices.Clone(cfg.Env), profileEnv+"="+t.opts.Profile)
	}
	srv, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	t.srv = srv
	if t.opts.MQTT != "" {
		return nil
	}
	return srv.Start(ctx)
}

// Stop stops the server that Start started.
func (t *tidings) Stop() {
	if t.srv == nil || !t.srv.Running() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	t.srv.Stop(ctx)
}

// Addr is the MQTT address.
func (t *tidings) Addr() string { return t.srv.MQTT() }

// PID is the server's process.
func (t *tidings) PID() int {
	if t.opts.MQTT != "" {
		return t.opts.PID
	}
	return t.srv.PID()
}

// Logins makes users and their devices by the command line's list verbs.
func (t *tidings) Logins(ctx context.Context, users []string) ([]Login, error) {
	userErr := t.srv.AddUsers(ctx, users...)
	devices := make([]server.Device, len(users))
	for i, u := range users {
		devices[i] = server.Device{User: u, Device: u + "-1"}
	}
	logins, err := t.enrol(ctx, devices)
	if err != nil {
		return nil, fmt.Errorf("%w (adding users: %w)", err, userErr)
	}
	return logins, nil
}

// Group makes a group over the first member's connection, as an app would.
func (t *tidings) Group(ctx context.Context, name string, members []Login) error {
	c, err := t.caller(ctx, members[0])
	if err != nil {
		return err
	}
	defer c.Disconnect()
	names := make([]string, 0, len(members)-1)
	for _, m := range members[1:] {
		names = append(names, m.User)
	}
	first := names[:min(namesPerCall, len(names))]
	if _, err := call(ctx, c, "group.create", map[string]any{"rid": name, "group": name, "title": name, "members": first}); err != nil {
		return fmt.Errorf("create group %s: %w", name, err)
	}
	n := 0
	for part := range slices.Chunk(names[len(first):], namesPerCall) {
		n++
		if _, err := call(ctx, c, "group.add", map[string]any{"rid": fmt.Sprint(name, n), "group": name, "members": part}); err != nil {
			return fmt.Errorf("add to group %s: %w", name, err)
		}
	}
	return nil
}

// Allocations reads the Go runtime's counter of the server.
func (t *tidings) Allocations(ctx context.Context) (float64, bool) {
	n, err := t.srv.Metric(ctx, "go_memstats_mallocs_total")
	return n, err == nil
}

// splitAddr splits an address that FreeAddr made.
func splitAddr(addr string) (host, port string) {
	host, port, _ = net.SplitHostPort(addr)
	return host, port
}
