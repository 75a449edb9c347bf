package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// browser is a device on MQTT.js over WebSocket in a process of its own.
type browser struct {
	t       testing.TB
	user    string
	in      io.Writer
	events  chan jsEvent
	waiting []jsEvent
}

// jsEvent is a line of mqttjs/client.mjs.
type jsEvent struct {
	Event, Topic, Payload, Text, ResponseTopic, Correlation string

	Session, Dup bool
	QoS          int
	Codes        []int
}

func (e *jsEvent) envelope() envelope {
	var out envelope
	if json.Unmarshal([]byte(e.Payload), &out) != nil {
		return envelope{}
	}
	return out
}

// startBrowser starts Node.js and waits until the device is connected.
func startBrowser(t testing.TB, w *world, l server.Login, version byte) *browser {
	t.Helper()
	node := tool(t, "node")
	if _, err := os.Stat("mqttjs/node_modules/mqtt"); err != nil {
		missing(t, "MQTT.js")
	}
	cmd := exec.CommandContext(t.Context(), node, "mqttjs/client.mjs", "ws://"+w.HTTP()+"/mqtt", l.User, l.Device, l.Token, fmt.Sprint(version))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, user: l.User, in: in, events: make(chan jsEvent, 10_000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(b.events)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e jsEvent
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				b.events <- e
			}
		}
	}()
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		<-done
		cmd.Wait()
	})
	b.await("connected", nil)
	return b
}

// do gives the device a command.
func (b *browser) do(command map[string]any) {
	b.t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		b.t.Fatal(err)
	}
}

// await returns the next event of a kind that matches and keeps the others.
func (b *browser) await(kind string, match func(*jsEvent) bool) jsEvent {
	b.t.Helper()
	fits := func(e *jsEvent) bool { return e.Event == kind && (match == nil || match(e)) }
	for i := range b.waiting {
		if e := b.waiting[i]; fits(&e) {
			b.waiting = append(b.waiting[:i:i], b.waiting[i+1:]...)
			return e
		}
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	for {
		select {
		case e, ok := <-b.events:
			if !ok || e.Event == "failed" {
				b.t.Fatalf("MQTT.js: waiting for %q: ended, or %+v", kind, e)
			}
			if fits(&e) {
				return e
			}
			b.waiting = append(b.waiting, e)
		case <-ctx.Done():
			b.t.Fatalf("MQTT.js: no event %q; waiting: %+v", kind, b.waiting)
		}
	}
}

// Shows MQTT3-7.0.0-2.
func TestMQTTJSOverWebSocket(t *testing.T) {
	t.Parallel()
	for _, version := range []byte{mqttest.V5, mqttest.V311} {
		t.Run(map[byte]string{mqttest.V5: "5", mqttest.V311: "3.1.1"}[version], func(t *testing.T) {
			w := newWorld(t, server.Config{})
			ls := w.logins("alice/browser", "bob/phone")
			alice, bob := ls[0], ls[1]
			b := startBrowser(t, w, alice, version)
			b.do(map[string]any{"do": "subscribe", "filters": []string{user(alice) + "/#", "g/+/#"}})
			if e := b.await("subscribed", nil); fmt.Sprint(e.Codes) != "[1 1]" {
				t.Errorf("granted %v", e.Codes)
			}
			phone := w.online(bob, v5)
			chatOverJS(t, b, phone)
			requestOverJS(t, b, alice, version)
			phone.Disconnect()
			survivesKill(t, w, b, bob)
		})
	}
}

// chatOverJS sends messages both ways.
func chatOverJS(t *testing.T, b *browser, phone *client) {
	t.Helper()
	b.do(map[string]any{"do": "publish", "topic": phone.me(), "payload": `{"body":{"n":1},"type":"note","cid":"js-1"}`})
	b.await("published", nil)
	m := phone.on(phone.me())
	if m.Type != "note" || string(m.Body) != `{"n":1}` || m.CID != "js-1" {
		t.Errorf("bob got %s", m.Payload)
	}
	phone.send(m.Chat, "welcome")
	e := b.await("message", func(e *jsEvent) bool { return e.Topic == m.Chat })
	if env := e.envelope(); env.text() != "welcome" || env.Chat != phone.me() || e.QoS != 1 {
		t.Errorf("MQTT.js got %+v", e)
	}
}

// requestOverJS makes a request in the form of each version.
func requestOverJS(t *testing.T, b *browser, alice server.Login, version byte) {
	t.Helper()
	topic := user(alice) + "/rpc/r1"
	command := map[string]any{"do": "publish", "topic": "rpc/user.get", "payload": fmt.Sprintf(`{"rid":"r1","user":%q}`, alice.User)}
	if version == mqttest.V5 {
		command["responseTopic"], command["correlation"] = topic, "c1"
	}
	b.do(command)
	e := b.await("message", func(e *jsEvent) bool { return e.Topic == topic })
	var a struct {
		RID    string
		Result struct{ User string }
	}
	if json.Unmarshal([]byte(e.Payload), &a) != nil || a.RID != "r1" || a.Result.User != alice.User {
		t.Errorf("answer %s", e.Payload)
	}
	if version == mqttest.V5 && e.Correlation != "c1" {
		t.Errorf("correlation data %q", e.Correlation)
	}
}

// survivesKill kills the server while MQTT.js sends. It resends without DUP, so that the cid has to tell.
func survivesKill(t *testing.T, w *world, b *browser, bob server.Login) {
	t.Helper()
	const n = 200
	for i := range n {
		b.do(map[string]any{"do": "publish", "topic": user(bob), "payload": fmt.Sprintf(`{"body":"k %d","cid":"k-%d"}`, i, i)})
		if i == n/2 {
			b.await("published", func(e *jsEvent) bool { return e.Topic == user(bob) })
			w.restart()
		}
	}
	b.await("connected", nil)
	for range n - 1 {
		b.await("published", func(e *jsEvent) bool { return e.Topic == user(bob) })
	}
	phone := w.online(bob, v5)
	p := phone.history(map[string]any{"chat": "u/" + b.user, "limit": 500})
	cids := make(map[string]int)
	for _, e := range p.Messages {
		cids[e.CID]++
	}
	for i := range n {
		if cid := fmt.Sprintf("k-%d", i); cids[cid] != 1 {
			t.Errorf("%s is stored %d times", cid, cids[cid])
		}
	}
	for range n {
		m := phone.on(user(bob))
		if cids[m.CID]++; cids[m.CID] != 2 {
			t.Errorf("%q came, for the %d. time", m.CID, cids[m.CID]-1)
		}
	}
}
