package broker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tidings/broker"
	"tidings/delivery"
	"tidings/internal/mqttest"
)

// fakeRPC echoes its parameters. Operations of the name test.wait block until gate is
// closed, test.fail is refused, test.panic panics, read.… only read.
type fakeRPC struct {
	gate chan struct{}

	mu    sync.Mutex
	calls int
}

func (r *fakeRPC) Call(_ context.Context, who delivery.Identity, operation string, params []byte) ([]byte, *delivery.Refusal) {
	r.mu.Lock()
	r.calls++
	n := r.calls
	r.mu.Unlock()
	switch operation {
	case "test.wait":
		<-r.gate
	case "test.fail":
		return nil, &delivery.Refusal{Code: "not_member", Message: "no"}
	case "test.panic":
		panic("test")
	}
	return fmt.Appendf(nil, `{"n":%d,"who":%q,"params":%s}`, n, who.Actor.UserName, params), nil
}

func (r *fakeRPC) Fresh(operation string) bool { return strings.HasPrefix(operation, "read.") }

func TestRequestIsAnswered(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), &fakeRPC{})
		c := s.dial("alice", "phone")
		if _, err := c.Subscribe(t.Context(), "u/alice/#"); err != nil {
			t.Fatal(err)
		}
		for _, k := range []struct{ topic, send, want string }{
			{"rpc/group.create", `{"rid":"7","group":"team"}`, `{"rid":"7","result":{"n":1,"who":"alice","params":{"group":"team"}}}`},
			{"rpc/group.create", `{"rid":"7","group":"team"}`, `{"rid":"7","result":{"n":1,"who":"alice","params":{"group":"team"}}}`},
			{"rpc/group.create", `{"rid":"7","group":"other"}`, `{"rid":"7","result":{"n":2,"who":"alice","params":{"group":"other"}}}`},
			{"rpc/read.one", ` { "a" : [1, {"rid": 2}] , "rid" : "r" } `, `{"rid":"r","result":{"n":3,"who":"alice","params":{"a":[1, {"rid": 2}]}}}`},
			{"rpc/read.one", ` { "a" : [1, {"rid": 2}] , "rid" : "r" } `, `{"rid":"r","result":{"n":4,"who":"alice","params":{"a":[1, {"rid": 2}]}}}`},
			{"rpc/test.fail", `{"rid":"8"}`, `{"rid":"8","error":{"code":"not_member","message":"no"}}`},
			{"rpc/test.panic", `{"rid":"9"}`, `{"rid":"9","error":{"code":"internal","message":"the operation failed"}}`},
		} {
			a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: k.topic, Payload: []byte(k.send), QoS: 1})
			if err != nil || a.Code != 0 {
				t.Fatalf("%s: %v %v", k.topic, a, err)
			}
			got, err := c.Next(t.Context())
			if err != nil || string(got.Payload) != k.want || !strings.HasPrefix(string(got.Topic), "u/alice/rpc/") || got.QoS != 0 {
				t.Errorf("%s: got %s %s %v, want %s", k.topic, got.Topic, got.Payload, err, k.want)
			}
		}
	})
}

// TestAnswerGoesToItsFilterAlone: what is subscribed to on open topics
// selects no answers.
func TestAnswerGoesToItsFilterAlone(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), &fakeRPC{})
		c := s.dial("alice", "phone")
		ask := func(rid string, filters ...string) {
			t.Helper()
			if _, err := c.Subscribe(t.Context(), filters...); err != nil {
				t.Fatal(err)
			}
			if _, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "rpc/test.echo", Payload: []byte(`{"rid":"` + rid + `"}`), QoS: 1}); err != nil {
				t.Fatal(err)
			}
		}
		ask("1", "#", "+/alice/#")
		ask("2", "u/alice/rpc/2")
		if got, err := c.Next(t.Context()); err != nil || string(got.Topic) != "u/alice/rpc/2" {
			t.Errorf("got %s %v", got.Topic, err)
		}
	})
}

func TestRequestOverTheLimits(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), &fakeRPC{})
		c := s.dial("alice", "phone")
		if _, err := c.Subscribe(t.Context(), "u/alice/#"); err != nil {
			t.Fatal(err)
		}
		object := func(keys, size int) string {
			b := []byte(`{"rid":"1"`)
			for i := range keys - 2 {
				b = fmt.Appendf(b, `,"k%d":0`, i)
			}
			b = append(b, `,"fill":"`...)
			return string(b) + strings.Repeat("x", size-len(b)-2) + `"}`
		}
		for _, k := range []struct {
			payload string
			code    byte
		}{
			{object(64, 128<<10), 0},
			{object(65, 4096), 0x99},
			{object(2, 128<<10+1), 0x97},
			{"{" + strings.Repeat(`"k":0,`, 20_000) + `"k":0}`, 0x99},
		} {
			a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "rpc/read.one", Payload: []byte(k.payload), QoS: 1})
			if err != nil {
				t.Fatalf("%d bytes: %v", len(k.payload), err)
			}
			if m.version == mqttest.V5 && a.Code != k.code {
				t.Errorf("%d bytes: answered with %#x, want %#x", len(k.payload), a.Code, k.code)
			}
			if k.code != 0 {
				continue
			}
			if d, err := c.Next(t.Context()); err != nil || !strings.Contains(string(d.Payload), `"result":`) {
				t.Errorf("%d bytes: got %v %v", len(k.payload), d, err)
			}
		}
	})
}

func TestRequestResponse(t *testing.T) {
	s := serve(t, mode{version: mqttest.V5}, broker.Config{}, newFakeEngine(), &fakeRPC{})
	c := s.dial("alice", "phone")
	if _, err := c.SubscribeWith(t.Context(), &mqttest.Properties{SubscriptionIDs: []uint32{300}}, mqttest.Subscription{Filter: "u/alice/rpc/#", Options: 1}); err != nil {
		t.Fatal(err)
	}
	ask := func(response, correlation, payload string) *mqttest.Ack {
		t.Helper()
		p := &mqttest.Properties{}
		if response != "" {
			p.SetString(mqttest.PropResponseTopic, response)
		}
		if correlation != "" {
			p.SetString(mqttest.PropCorrelationData, correlation)
		}
		a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "rpc/test.echo", Payload: []byte(payload), QoS: 1, Props: p})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, correlation := range []string{"\x00\xff", strings.Repeat("c", 200)} {
		ask("u/alice/rpc/answers/1", correlation, "")
		got, err := c.Next(t.Context())
		if err != nil || string(got.Topic) != "u/alice/rpc/answers/1" || !strings.HasPrefix(string(got.Payload), `{"result":{"n":`) {
			t.Fatalf("got %s %s %v", got.Topic, got.Payload, err)
		}
		p, err := got.Properties()
		if err != nil || p.Strings[mqttest.PropCorrelationData] != correlation || len(p.SubscriptionIDs) != 1 || p.SubscriptionIDs[0] != 300 {
			t.Errorf("properties %+v %v", p, err)
		}
	}
	for _, k := range []struct {
		response, payload string
		code              byte
	}{
		{"u/bob/rpc/1", "{}", 0x87},
		{"u/alice", "{}", 0x87},
		{"", "{}", 0x99},
		{"", `{"rid":"a/b"}`, 0x99},
		{"", `{"rid":7}`, 0x99},
		{"", `{"rid":"a","rid":"b"}`, 0x99},
		{"u/alice/rpc/1", `[]`, 0x99},
		{"u/alice/rpc/1", `{"a":1`, 0x99},
		{"u/alice/rpc/1", `{"a":1}{}`, 0x99},
		{"u/alice/rpc/1", `{"a":1} x`, 0x99},
		{"u/alice/rpc/1", `hello`, 0x99},
	} {
		if a := ask(k.response, "", k.payload); a.Code != k.code {
			t.Errorf("%+v: code %#x", k, a.Code)
		}
	}
	if a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "rpc/No Such", QoS: 1}); err != nil || a.Code != 0x90 {
		t.Errorf("bad operation: %v %v", a, err)
	}
}

func TestAtMostEightRequestsAtOnce(t *testing.T) {
	r := &fakeRPC{gate: make(chan struct{})}
	s := serve(t, mode{version: mqttest.V5}, broker.Config{}, newFakeEngine(), r)
	c := s.dial("alice", "phone")
	if _, err := c.Subscribe(t.Context(), "u/alice/rpc/#"); err != nil {
		t.Fatal(err)
	}
	ask := func(i int) byte {
		a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "rpc/test.wait", Payload: fmt.Appendf(nil, `{"rid":"%d"}`, i), QoS: 1})
		if err != nil {
			t.Fatal(err)
		}
		return a.Code
	}
	for i := range 8 {
		if code := ask(i); code != 0 {
			t.Fatalf("request %d: %#x", i, code)
		}
	}
	if code := ask(8); code != 0x97 {
		t.Errorf("request 9: %#x", code)
	}
	if code := ask(3); code != 0 {
		t.Errorf("the same request again: %#x", code)
	}
	close(r.gate)
	for range 9 {
		if _, err := c.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls != 8 {
		t.Errorf("%d calls", r.calls)
	}
}
