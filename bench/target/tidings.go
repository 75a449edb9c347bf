package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"time"

	"tidings/internal/mqttest"
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
	cfg := server.Config{Bin: t.opts.Bin, Dir: dir, Args: t.opts.Args}
	if t.opts.MQTT != "" {
		cfg.MQTT, cfg.HTTP, cfg.Data = t.opts.MQTT, t.opts.HTTP, t.opts.Data
		if cfg.Data == "" || cfg.HTTP == "" {
			return fmt.Errorf("a running server needs its HTTP address and data directory named, too")
		}
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
	made, err := t.srv.AddDevices(ctx, devices...)
	if err != nil {
		return nil, fmt.Errorf("%w (adding users: %w)", err, userErr)
	}
	logins := make([]Login, len(made))
	for i, l := range made {
		logins[i] = Login{User: l.User, Device: l.Device, Password: l.Token}
	}
	return logins, nil
}

// Group makes a group over the first member's connection, as an app would.
func (t *tidings) Group(ctx context.Context, name string, members []Login) error {
	owner := members[0]
	c, err := mqttest.Dial(ctx, mqttest.Options{
		Addr: t.Addr(), User: owner.User, ClientID: owner.Device, Password: owner.Password, Clean: true,
	})
	if err != nil {
		return err
	}
	defer c.Disconnect()
	if _, err := c.Subscribe(ctx, "u/"+owner.User+"/rpc/+"); err != nil {
		return err
	}
	names := make([]string, 0, len(members)-1)
	for _, m := range members[1:] {
		names = append(names, m.User)
	}
	first := names[:min(namesPerCall, len(names))]
	if err := call(ctx, c, "group.create", map[string]any{"rid": name, "group": name, "title": name, "members": first}); err != nil {
		return fmt.Errorf("create group %s: %w", name, err)
	}
	n := 0
	for part := range slices.Chunk(names[len(first):], namesPerCall) {
		n++
		if err := call(ctx, c, "group.add", map[string]any{"rid": fmt.Sprint(name, n), "group": name, "members": part}); err != nil {
			return fmt.Errorf("add to group %s: %w", name, err)
		}
	}
	return nil
}

// call makes one request and waits for its answer.
func call(ctx context.Context, c *mqttest.Client, op string, req map[string]any) error {
	payload, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if _, err := c.PublishWait(ctx, &mqttest.Publish{Topic: "rpc/" + op, Payload: payload, QoS: 1}); err != nil {
		return err
	}
	for {
		m, err := c.Next(ctx)
		if err != nil {
			return err
		}
		var answer struct {
			RID   string          `json:"rid"`
			Error json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(m.Payload, &answer); err != nil {
			return err
		}
		if answer.RID != req["rid"] {
			continue
		}
		if answer.Error != nil {
			return fmt.Errorf("refused: %s", answer.Error)
		}
		return nil
	}
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
