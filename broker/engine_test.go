package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/broker"
	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/internal/mqttest"
	"tidings/storage"
	"tidings/storage/storagetest"
	"tidings/topics"
)

// believer lets everybody in who exists.
type believer struct{ store storage.Store }

func (b believer) Authenticate(ctx context.Context, l *hooks.Login) (hooks.Grant, error) {
	us, err := b.store.UsersByName(ctx, []string{l.User})
	if err != nil {
		return hooks.Grant{}, err
	}
	if us[0].ID == 0 || string(l.Password) != l.User {
		return hooks.Grant{}, hooks.ErrBadCredentials
	}
	return hooks.Grant{User: us[0].ID, Device: l.Client, ByWord: true, Guest: l.Client == ""}, nil
}

// serveReal is serve with the real engine over a store in memory.
func serveReal(t *testing.T, m mode, users ...string) *server {
	return serveRealWith(t, m, delivery.OpenTopics{}, users...)
}

// serveOpen is serveReal with open topics below open/, of which bob may not publish
// below open/private/.
func serveOpen(t *testing.T, m mode, users ...string) *server {
	t.Helper()
	open, err := topics.NewOpen([]string{"open/#"})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := topics.ParseRules([]string{"deny bob publish open/private/#"})
	if err != nil {
		t.Fatal(err)
	}
	return serveRealWith(t, m, delivery.OpenTopics{Names: open, Rules: rules}, users...)
}

func serveRealWith(t *testing.T, m mode, open delivery.OpenTopics, users ...string) *server {
	t.Helper()
	store := storagetest.NewModel()
	for _, u := range users {
		if _, err := store.AddUsers(t.Context(), []chat.User{{Name: u, Created: time.Now()}}); err != nil {
			t.Fatal(err)
		}
	}
	plugins, err := hooks.NewSet(slog.New(slog.DiscardHandler), believer{store})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := delivery.New(delivery.Config{Store: store, Plugins: plugins, CursorFlush: 5 * time.Millisecond, Open: open})
	if err != nil {
		t.Fatal(err)
	}
	engine.Start()
	cfg := broker.Config{Linger: 100 * time.Millisecond}
	if m.cfg != nil {
		m.cfg(&cfg)
	}
	b, err := broker.New(cfg, engine, nil)
	if err != nil {
		t.Fatal(err)
	}
	addr, served := listen(t, b.ServeTCP)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			t.Errorf("shutdown of the broker: %v", err)
		}
		<-served
		if err := engine.Shutdown(ctx); err != nil {
			t.Errorf("shutdown of the engine: %v", err)
		}
	})
	return &server{t, m, nil, b, addr}
}

type envelope struct {
	Chat string
	Seq  int
	From string
	Body any
}

// next returns the next envelope that a client gets.
func next(t *testing.T, c *mqttest.Client) envelope {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := c.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var e envelope
	if err := json.Unmarshal(m.Payload, &e); err != nil {
		t.Fatalf("%s: %v", m.Payload, err)
	}
	return e
}

func TestOfflineInboxArrivesInOrderOnEveryDevice(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serveReal(t, m, "alice", "bob")
		persistent := func(o *mqttest.Options) { o.Clean, o.SessionExpiry = false, 3600 }
		for _, device := range []string{"phone", "tablet"} {
			c := s.dial("bob", device, persistent)
			if g, err := c.Subscribe(t.Context(), "u/bob", "g/+/#"); err != nil || g.Codes[0] != 1 {
				t.Fatal(g, err)
			}
			c.Disconnect()
		}
		alice := s.dial("alice", "laptop")
		const n = 2000
		for i := range n {
			p := &mqttest.Publish{Topic: "u/bob", Payload: fmt.Appendf(nil, "%d", i), QoS: 1, ID: uint16(i%60000 + 1)}
			if i%500 == 499 {
				if a, err := alice.PublishWait(t.Context(), p); err != nil || a.Code != 0 {
					t.Fatal(a, err)
				}
			} else if err := alice.Publish(p); err != nil {
				t.Fatal(err)
			}
		}
		for _, device := range []string{"phone", "tablet"} {
			c := s.dial("bob", device, persistent)
			if !c.ConnAck().SessionPresent {
				t.Error("no session present")
			}
			for i := range n {
				if e := next(t, c); e.Body != fmt.Sprint(i) || e.Seq != i+1 || e.From != "alice" || e.Chat != "u/alice" {
					t.Fatalf("%s, message %d: %+v", device, i, e)
				}
			}
			c.Disconnect()
		}
	})
}

func TestTakeoverLosesNothing(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serveReal(t, m, "alice", "bob")
		persistent := func(o *mqttest.Options) { o.Clean, o.SessionExpiry = false, 3600 }
		bob := s.dial("bob", "phone", persistent)
		if _, err := bob.Subscribe(t.Context(), "u/bob"); err != nil {
			t.Fatal(err)
		}
		const n = 1500
		var sending sync.WaitGroup
		defer sending.Wait()
		sending.Go(func() {
			alice := s.dial("alice", "laptop")
			for i := range n {
				if a, err := alice.PublishWait(t.Context(), &mqttest.Publish{Topic: "u/bob", Payload: fmt.Appendf(nil, "%d", i), QoS: 1}); err != nil || a.Code != 0 {
					t.Error(a, err)
					return
				}
			}
		})
		last := 0
		for last < n {
			for range 100 {
				e := next(t, bob)
				if e.Seq > last+1 {
					t.Fatalf("seq %d behind %d", e.Seq, last)
				}
				if last = max(last, e.Seq); last == n {
					return
				}
			}
			old := bob
			bob = s.dial("bob", "phone", persistent)
			for { // what the first connection still got counts
				m, err := old.Next(t.Context())
				if err != nil {
					break
				}
				var e envelope
				if json.Unmarshal(m.Payload, &e) == nil {
					last = max(last, e.Seq)
				}
			}
		}
	})
}

func TestSubscriptionsAreJudged(t *testing.T) {
	s := serveReal(t, mode{version: mqttest.V5}, "alice", "bob")
	c := s.dial("alice", "phone")
	deep := "u/alice/" + strings.Repeat("x/", 1000)
	filters := []string{"u/alice/#", "g/+/#", "#", "+/alice", "u/bob", "u/+", "u/bob/presence", "$share/x/u/alice", "$SYS/#", deep, "a#", "u/alice/+x"}
	want := []byte{1, 1, 0x87, 0x87, 0x87, 0x87, 1, 0x9e, 0x8f, 0x8f, 0x8f, 0x8f}
	g, err := c.Subscribe(t.Context(), filters...)
	if err != nil {
		t.Fatal(err)
	}
	for i, code := range g.Codes {
		if code != want[i] {
			t.Errorf("%.40s: %#x, want %#x", filters[i], code, want[i])
		}
	}
	old := serveReal(t, mode{version: mqttest.V311}, "alice").dial("alice", "phone")
	if g, err = old.Subscribe(t.Context(), "u/alice/#", "#", "$share/x/u/alice"); err != nil || string(g.Codes) != "\x01\x80\x80" {
		t.Errorf("3.1.1: %x %v", g.Codes, err)
	}
}

// TestMosquittoClients talks to the server with the command line clients.
func TestMosquittoClients(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serveReal(t, m, "alice", "bob")
		host, port, _ := net.SplitHostPort(s.addr)
		tool := func(name, user string, more ...string) *exec.Cmd {
			v := map[byte]string{mqttest.V311: "mqttv311", mqttest.V5: "mqttv5"}[m.version]
			return exec.Command(name, append([]string{"-h", host, "-p", port, "-V", v, "-u", user, "-P", user, "-i", "cli"}, more...)...)
		}
		if _, err := exec.LookPath("mosquitto_sub"); err != nil {
			t.Fatal("this test needs Debian's mosquitto-clients")
		}
		sub := tool("mosquitto_sub", "bob", "-t", "u/bob/#", "-q", "1", "-C", "3", "-W", "20")
		out := &strings.Builder{}
		sub.Stdout = out
		if err := sub.Start(); err != nil {
			t.Fatal(err)
		}
		for qos := range 3 {
			pub := tool("mosquitto_pub", "alice", "-t", "u/bob", "-q", fmt.Sprint(qos), "-m", fmt.Sprint("hi ", qos))
			if b, err := pub.CombinedOutput(); err != nil {
				t.Errorf("mosquitto_pub: %v %s", err, b)
			}
		}
		if err := sub.Wait(); err != nil {
			t.Errorf("mosquitto_sub: %v %s", err, out)
		}
		if got := out.String(); strings.Count(got, `"from":"alice"`) != 3 {
			t.Errorf("received %s", got)
		}
		if b, err := tool("mosquitto_pub", "alice", "-P", "wrong", "-t", "u/bob", "-m", "x").CombinedOutput(); err == nil {
			t.Errorf("wrong password: %s", b)
		}
	})
}
