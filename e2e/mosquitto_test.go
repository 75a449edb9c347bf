package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"tidings/internal/mqttest/server"
)

// mosquitto runs mosquitto's clients as a person would who has nothing else.
type mosquitto struct {
	w        *world
	sub, pub string
}

// newMosquitto starts a server with alice and bob, whose passwords are those of the demo.
func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	m := &mosquitto{sub: tool(t, "mosquitto_sub"), pub: tool(t, "mosquitto_pub")}
	m.w = newWorld(t, server.Config{})
	for _, name := range []string{"alice", "bob"} {
		if err := m.w.AddUser(t.Context(), name, name+"-demo"); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// as are the arguments that say where to and who.
func (m *mosquitto) as(user, device string, args ...string) []string {
	host, port, err := net.SplitHostPort(m.w.MQTT())
	if err != nil {
		m.w.t.Fatal(err)
	}
	return append([]string{"-h", host, "-p", port, "-u", user, "-P", user + "-demo", "-i", device}, args...)
}

// run runs one of the programs to its end and returns what it printed.
func (m *mosquitto) run(stdin, program string, args ...string) string {
	m.w.t.Helper()
	ctx, cancel := context.WithTimeout(m.w.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		m.w.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// receive runs mosquitto_sub until it has n messages, and returns their lines.
func (m *mosquitto) receive(user, device string, n int) []string {
	m.w.t.Helper()
	out := m.run("", m.sub, m.as(user, device, "-c", "-t", "u/"+user+"/#", "-t", "g/+/#", "-T", "u/+/events", "-T", "u/+/receipts", "-q", "1", "-v", "-C", fmt.Sprint(n))...)
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

// register lets a device subscribe once and go again.
func (m *mosquitto) register(user, device string) {
	m.w.t.Helper()
	m.run("", m.sub, m.as(user, device, "-c", "-t", "u/"+user+"/#", "-t", "g/+/#", "-q", "1", "-E")...)
}

// parse splits a line of mosquitto_sub -v.
func parse(t testing.TB, line string) (topic string, e envelope) {
	t.Helper()
	topic, payload, _ := strings.Cut(line, " ")
	if err := json.Unmarshal([]byte(payload), &e); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return topic, e
}

// Shows MQTT3-7.0.0-2.
func TestMosquittoBobSeesTheEnvelope(t *testing.T) {
	t.Parallel()
	m := newMosquitto(t)
	m.run("", m.pub, m.as("alice", "laptop", "-t", "u/bob", "-q", "1", "-m", "hi")...)
	out := m.run("", m.sub, m.as("bob", "phone", "-c", "-t", "u/bob/#", "-t", "g/+/#", "-q", "1", "-v", "-C", "1")...)
	topic, e := parse(t, strings.TrimSpace(out))
	if topic != "u/bob" || e.Chat != "u/alice" || e.Seq != 1 || e.From != "alice" || e.Device != "laptop" || e.Type != "text" || e.text() != "hi" {
		t.Errorf("%s %+v", topic, e)
	}
	if len(e.ID) != 36 || e.ID[14] != '7' || e.TS == 0 {
		t.Errorf("id %q, want a UUIDv7; ts %d", e.ID, e.TS)
	}
}

func TestMosquittoOfflineThenKilledThenAllInOrderOnce(t *testing.T) {
	t.Parallel()
	const n = 10_000
	m := newMosquitto(t)
	for _, d := range []string{"phone", "tablet"} {
		m.register("bob", d)
	}
	m.register("alice", "phone")
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "message %d\n", i+1)
	}
	m.run(lines.String(), m.pub, m.as("alice", "laptop", "-t", "u/bob", "-q", "1", "-l")...)
	m.w.restart()
	parts := []struct{ name, user, device, chat string }{
		{"bob's phone", "bob", "phone", "u/alice"},
		{"bob's second device on its own", "bob", "tablet", "u/alice"},
		{"alice's second device sees what alice sent", "alice", "phone", "u/bob"},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { m.on(t).allOf(p.user, p.device, p.chat, n) })
	}
	m.run("", m.pub, m.as("alice", "laptop", "-t", "u/bob", "-q", "1", "-m", "end")...)
	for _, p := range parts {
		if _, e := parse(t, m.receive(p.user, p.device, 1)[0]); e.Seq != n+1 || e.text() != "end" {
			t.Errorf("%s: behind all of it came seq %d %q", p.name, e.Seq, e.text())
		}
	}
}

// on is the same for a part of a test.
func (m *mosquitto) on(t testing.TB) *mosquitto { return &mosquitto{m.w.in(t), m.sub, m.pub} }

// allOf receives n messages in order.
func (m *mosquitto) allOf(user, device, chat string, n int) {
	t := m.w.t
	t.Helper()
	for i, line := range m.receive(user, device, n) {
		_, e := parse(t, line)
		if e.Seq != uint64(i+1) || e.text() != fmt.Sprintf("message %d", i+1) || e.Chat != chat {
			t.Fatalf("delivery %d of %d is %q", i+1, n, line)
		}
	}
}
