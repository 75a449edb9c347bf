package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// patience bounds every wait for something that has to come.
const patience = 30 * time.Second

// world is a server as one test sees it.
type world struct {
	*server.Server
	t testing.TB
}

// newWorld starts a server for one test.
func newWorld(t testing.TB, cfg server.Config) *world {
	t.Helper()
	address(&cfg)
	return &world{Server: server.Run(t, cfg), t: t}
}

// in is the same server for a part of a test.
func (w *world) in(t testing.TB) *world { return &world{w.Server, t} }

// withConfig writes a config file and returns the arguments that name it.
func withConfig(t testing.TB, yaml string) []string {
	t.Helper()
	name := t.TempDir() + "/tidings.yaml"
	if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", name}
}

var addresses atomic.Int32

// address gives a server a loopback address of its own, where the system has more than one. Its ports can then not be
// taken by the sockets of clients between two starts.
func address(cfg *server.Config) {
	if runtime.GOOS != "linux" {
		return
	}
	n, pid := addresses.Add(1), os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 1+pid>>8&127, pid&255, n)
	if cfg.MQTT == "" {
		cfg.MQTT = host + ":1883"
	}
	if cfg.HTTP == "" {
		cfg.HTTP = host + ":8080"
	}
}

// cli runs an operator verb that must not fail.
func (w *world) cli(stdin string, args ...string) string {
	w.t.Helper()
	out, err := w.CLI(w.t.Context(), stdin, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(out)
}

var people atomic.Int32

// logins makes devices from "name/device". Each name becomes a user of this call alone, so that tests can share a
// server: alice is called alice-17 or the like.
func (w *world) logins(list ...string) []server.Login {
	w.t.Helper()
	n := people.Add(1)
	real := make(map[string]string)
	var users []string
	var devices []server.Device
	for _, s := range list {
		user, device, _ := strings.Cut(s, "/")
		if real[user] == "" {
			real[user] = fmt.Sprintf("%s-%d", user, n)
			users = append(users, real[user])
		}
		devices = append(devices, server.Device{User: real[user], Device: device})
	}
	if err := w.AddUsers(w.t.Context(), users...); err != nil {
		w.t.Fatal(err)
	}
	out, err := w.AddDevices(w.t.Context(), devices...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// device makes one more device of a user.
func (w *world) device(of server.Login, name string) server.Login {
	w.t.Helper()
	out, err := w.AddDevices(w.t.Context(), server.Device{User: of.User, Device: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return out[0]
}

// user is the topic of a user.
func user(l server.Login) string { return "u/" + l.User }

// mode is how a client speaks.
type mode struct {
	name    string
	version byte
	ws      bool
}

var (
	v5  = mode{"5", mqttest.V5, false}
	v3  = mode{"3.1.1", mqttest.V311, false}
	ws5 = mode{"5 over WebSocket", mqttest.V5, true}
	ws3 = mode{"3.1.1 over WebSocket", mqttest.V311, true}

	versions = []mode{v5, v3}
	allModes = []mode{v5, v3, ws5, ws3}
)

// inModes runs one body for several modes.
func inModes(t *testing.T, modes []mode, body func(t *testing.T, m mode)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { body(t, m) })
	}
}

// options are the defaults of the tests' clients: a session that lasts.
func options(m mode) mqttest.Options {
	o := mqttest.Options{Version: m.version, ReadBuffer: 16 << 10}
	if m.version == mqttest.V5 {
		o.SessionExpiry = 3600
	}
	return o
}

// dial connects a device; it may be refused.
func (w *world) dial(l server.Login, m mode, o mqttest.Options) (*client, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	o.Version = m.version
	o.Addr, o.User, o.ClientID, o.Password = w.MQTT(), l.User, l.Device, l.Token
	if m.ws {
		conn, err := w.webSocket(ctx)
		if err != nil {
			return nil, err
		}
		o.Conn = conn
	}
	c, err := mqttest.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(c.Drop)
	return &client{Client: c, t: w.t, login: l}, nil
}

// webSocket opens a WebSocket to the server as an MQTT connection.
func (w *world) webSocket(ctx context.Context) (net.Conn, error) {
	ws, resp, err := websocket.Dial(ctx, "ws://"+w.HTTP()+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		return nil, err
	}
	if resp.Body != nil {
		resp.Body.Close()
	}
	ws.SetReadLimit(-1)
	// The connection lives as long as the test, not as long as dialling.
	return websocket.NetConn(w.t.Context(), ws, websocket.MessageBinary), nil
}

// connectWith connects a device with options of the test's own.
func (w *world) connectWith(l server.Login, m mode, o mqttest.Options) *client {
	w.t.Helper()
	c, err := w.dial(l, m, o)
	if err != nil {
		w.t.Fatalf("connect %s %s: %v", l.User, l.Device, err)
	}
	return c
}

// connect connects a device with a lasting session.
func (w *world) connect(l server.Login, m mode) *client {
	w.t.Helper()
	return w.connectWith(l, m, options(m))
}

// online connects a device and subscribes to all of its chats.
func (w *world) online(l server.Login, m mode) *client {
	w.t.Helper()
	c := w.connect(l, m)
	c.inbox()
	return c
}

// refusedLogin returns the code of the CONNACK that refuses a login.
func (w *world) refusedLogin(l server.Login, m mode, o mqttest.Options) byte {
	w.t.Helper()
	_, err := w.dial(l, m, o)
	var r *mqttest.Refused
	if !errors.As(err, &r) {
		w.t.Fatalf("login of %s %s: %v, want a CONNACK that refuses", l.User, l.Device, err)
	}
	return r.ConnAck.Code
}

// restart kills the server with -9 and starts it again.
func (w *world) restart() {
	w.t.Helper()
	if err := w.Kill(); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// start starts a server that does not run.
func (w *world) start() {
	w.t.Helper()
	if err := w.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// stop ends the server with SIGTERM, which must be orderly and take at most 5 s.
func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	if code, err := w.Stop(ctx); code != 0 || err != nil {
		w.t.Fatalf("exit code %d, %v", code, err)
	}
}

// eventually waits for a condition that nothing announces.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
