package e2e_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// rss is the resident memory of the server in bytes, 0 where the system does not tell.
func (w *world) rss() int64 {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", w.PID()))
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		w.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// A user with 5,000 chats: all of them arrive, and how soon the first is reported.
func TestUserWith5000Chats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	const n = 5000
	ls := w.logins("alice/laptop", "alice/phone")
	w.cli("", "user", "add", "--count", fmt.Sprint(n), "--prefix", "peer")
	phone := w.online(ls[1], v5)
	phone.Disconnect()
	laptop := w.connect(ls[0], v5)
	for i := 1; i <= n; i++ {
		p := mqttest.Publish{Topic: fmt.Sprintf("u/peer%d", i), Payload: []byte("hi"), QoS: 1, ID: laptop.NextID()}
		if i%500 == 0 {
			laptop.sendAs(p)
		} else if err := laptop.Queue(&p); err != nil {
			t.Fatal(err)
		}
	}
	phone = w.firstMessage(ls[1], "a session taken up", options(v5))
	phone.Drop()
	phone = w.firstMessage(ls[1], "a clean one", mqttest.Options{Clean: true})
	seen := make(map[string]bool)
	for len(seen) < n {
		m := phone.on(phone.me())
		if seen[m.Chat] {
			t.Fatalf("%s came twice", m.Chat)
		}
		seen[m.Chat] = true
		if err := phone.Ack(m.Message.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
	if list, next := chats(phone, map[string]any{"limit": 200}); len(list) != 200 || next == 0 {
		t.Errorf("chat.list: %d chats, next %d", len(list), next)
	}
}

// firstMessage connects a device with a full inbox and reports how long it takes until the first message. It leaves
// that, unacknowledged, to later calls.
func (w *world) firstMessage(l server.Login, name string, o mqttest.Options) *client {
	w.t.Helper()
	o.ManualAck = true
	begin := time.Now()
	c := w.connectWith(l, v5, o)
	connack := time.Since(begin)
	begin = time.Now()
	c.inbox()
	m := c.on(c.me())
	w.t.Logf("%s: CONNACK after %v, first waiting message %v after SUBSCRIBE", name, connack, time.Since(begin))
	c.waiting = append([]*message{m}, c.waiting...)
	return c
}

// A direct message does not wait behind a group's backlog.
func TestDirectMessagePassesAGroupBacklog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	g := newClub(t, w, v5, nil)
	n := 20_000
	if *long {
		n = 100_000
	}
	g.bob.Disconnect()
	g.alice.sendMany(g.topic, "m", n)
	o := options(v5)
	o.ManualAck = true
	bob := w.connectWith(g.bob.login, v5, o)
	// The backlog is on its way when the direct message is sent.
	var last *message
	for range 200 {
		if last != nil {
			if err := bob.Ack(last.Message.ID, 0); err != nil {
				t.Fatal(err)
			}
		}
		last = bob.on(g.topic)
	}
	g.carol.send(bob.me(), "now")
	passed := 0
	for m := last; ; passed++ {
		if err := bob.Ack(m.Message.ID, 0); err != nil {
			t.Fatal(err)
		}
		var err error
		if m, err = bob.next(); err != nil {
			t.Fatal(err)
		}
		if m.topic == bob.me() {
			break
		}
	}
	const window = 64
	if passed > window {
		t.Errorf("%d messages of the backlog came in front of the direct one, a window is %d", passed, window)
	}
	t.Logf("%d messages of a backlog of %d came in front of the direct one", passed, n)
}

// A member that reads nothing delays no other and costs no memory.
func TestMemberThatReadsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{Args: withConfig(t, "store:\n  cache: 1MiB\n")})
	g := newClub(t, w, v5, nil)
	n, body := 40, strings.Repeat("x", 1<<20/8)
	if *long {
		n = 100
	}
	flood := func(name string) {
		t.Helper()
		for i := range n * 8 {
			g.alice.send(g.topic, fmt.Sprintf(`{"type":%q,"body":"%d %s"}`, name, i, body))
			g.carol.await("the message", func(m *message) bool { return m.Type == name && strings.HasPrefix(m.text(), fmt.Sprintf("%d ", i)) })
		}
	}
	// First without him, so that what the store needs for as much is there already.
	g.bob.Disconnect()
	flood("absent")
	before := w.rss()
	flood("absent.again")
	without := w.rss() - before
	before = w.rss()

	conn, err := net.Dial("tcp", w.MQTT())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(connectPacket(g.bob.login, v5)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	flood("stalled")
	grown := w.rss() - before
	t.Logf("%d MB in %v beside a member that reads nothing; resident memory grew by %d KiB, without him by %d KiB",
		n, time.Since(begin).Round(time.Millisecond), grown>>10, without>>10)
	if grown > int64(n/2)<<20 {
		t.Errorf("resident memory grew by %d MiB while %d MiB waited for him", grown>>20, n)
	}
	conn.Close()
	bob := w.connect(g.bob.login, v5)
	bob.await("the first one he has missed", func(m *message) bool { return m.Type == "absent" && strings.HasPrefix(m.text(), "0 ") })
}
