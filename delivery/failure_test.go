package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/storage"
)

// A store that says that nothing is stored gives refusals, and everything goes on
// once it works again.
func TestStoreThatRefuses(t *testing.T) {
	for _, tt := range []struct {
		method string
		err    error
		code   string
	}{
		{"Append", fmt.Errorf("append: %w", storage.ErrFull), delivery.CodeStorageFull},
		{"Append", fmt.Errorf("append: %w", storage.ErrReadOnly), delivery.CodeUnavailable},
		{"Chats", errors.New("cannot read heads"), delivery.CodeUnavailable},
	} {
		t.Run(tt.method+"/"+tt.code, func(t *testing.T) {
			w := newWorld(t, "alice", "bob")
			alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
			bob.send("u/alice", "0")
			w.e.ForgetChat(chat.DirectChat(w.ids["alice"], w.ids["bob"]))
			w.gate.on(tt.method, func() error { return tt.err })
			for _, p := range []delivery.Publish{text("u/bob", "1", 1), exactly(text("u/bob", "1", 2)), {Topic: []byte("u/bob/read"), Payload: []byte(`{"seq":1}`), QoS: 1}} {
				if a := alice.publish(p); a.code != tt.code {
					t.Errorf("publish on %s: %+v", p.Topic, a)
				}
			}
			_, err := w.e.CreateGroup(t.Context(), w.actor("alice"), delivery.GroupSpec{Name: "team"})
			refused(t, "create a group", err, tt.code)
			w.gate.on(tt.method, nil)
			w.group(alice, "team") // what was begun is taken up again
			alice.stored(text("u/bob", "2", 1), 2)
			alice.stored(exactly(text("u/bob", "3", 2)), 3)
			if got := bob.texts("u/alice", 2); !slices.Equal(got, []string{"2", "3"}) {
				t.Errorf("bob got %q", got)
			}
		})
	}
}

// An unknown outcome ends the connections that have something at stake, without an
// answer to it or to anything behind, and no others.
func TestUnknownOutcomePoisonsOnlyWhoseItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob", "carol")
		alice, bob, carol := w.online("alice", "phone"), w.online("bob", "phone"), w.online("carol", "phone")
		release := make(chan struct{})
		var first atomic.Bool
		w.gate.on("Append", func() error { // the first batch waits, so that the next ones are one
			if first.CompareAndSwap(false, true) {
				<-release
				return nil
			}
			return errors.New("connection reset")
		})
		carol.ask(text("u/bob", "goes through", 1))
		rest()
		alice.ask(text("u/nobody", "refused", 1), text("u/bob", "unknown", 2), text("u/nobody", "behind", 3))
		carol.ask(text("u/nobody", "refused", 2), delivery.Publish{Topic: []byte("u/bob/typing")})
		close(release)
		rest()
		w.gate.on("Append", nil)
		if alice.closed != delivery.ReasonUnknownOutcome || len(alice.answers) != 0 {
			t.Errorf("closed %d, answered %+v", alice.closed, alice.answers)
		}
		if carol.closed != 0 || len(carol.answers) != 3 {
			t.Errorf("carol: closed %d, answered %+v", carol.closed, carol.answers)
		}
		alice = w.online("alice", "phone")
		alice.send("u/bob", "on")
		if got := bob.texts("u/alice", 1); !slices.Equal(got, []string{"on"}) {
			t.Errorf("bob got %q", got)
		}
	})
}

// Readers wait for the store, and miss nothing.
func TestInboxWaitsForTheStore(t *testing.T) {
	for _, method := range []string{"Read", "Inbox", "Advance"} {
		t.Run(method, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, "alice", "bob")
				alice := w.online("alice", "phone")
				w.online("bob", "phone").close(true)
				alice.fill(40)
				w.gate.on(method, func() error { return errors.New("cannot be reached") })
				bob := w.connect("bob", "phone", receiving(3))
				rest()
				alice.fill(2)
				w.gate.on(method, nil)
				rest()
				if got := bob.seqs(); !slices.Equal(got, to(1, 42)) {
					t.Errorf("got %v", got)
				}
				if c := w.cursor("bob", "phone", "alice"); c != 42 {
					t.Errorf("cursor %d", c)
				}
			})
		})
	}
}

func TestLoginNeedsTheStore(t *testing.T) {
	w := newWorld(t, "alice")
	w.online("alice", "phone").close(true)
	id, err := w.e.Login(t.Context(), &hooks.Login{User: "alice", Client: "phone"})
	if err != nil {
		t.Fatal(err)
	}
	w.gate.on("OpenSession", func() error { return errors.New("cannot be reached") })
	if _, _, err := w.e.Open(t.Context(), id, delivery.OpenOptions{}); !errors.Is(err, hooks.ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
	w.gate.on("OpenSession", nil)
	alice := w.connect("alice", "tablet")
	w.gate.on("UpdateDevice", func() error { return errors.New("cannot be reached") })
	if _, err := alice.s.Subscribe(t.Context(), []delivery.Subscription{{Filter: "u/alice"}}); err == nil {
		t.Error("subscribed without an inbox")
	}
	w.gate.on("UpdateDevice", func() error { return storage.ErrFull })
	if r := alice.trySubscribe(1, "u/alice"); r[0] == nil || r[0].Code != delivery.CodeStorageFull {
		t.Errorf("subscribed on a full disk: %v", r)
	}
	w.gate.on("UpdateDevice", nil)
	alice.subscribe(1, "u/alice")
}

// What has been handed over before the shutdown is stored and answered; what comes
// later is neither.
func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	const senders, each = 8, 50
	var devices []*device
	for i := range senders {
		devices = append(devices, w.online("alice", fmt.Sprint(i)))
	}
	e := w.e
	var sending sync.WaitGroup
	started := make(chan struct{}, senders)
	for _, d := range devices {
		sending.Go(func() {
			for i := range each {
				if i == each/4 {
					started <- struct{}{}
				}
				d.ask(text("u/bob", d.name+fmt.Sprint(i), uint16(i+1)))
			}
		})
	}
	for range senders {
		<-started
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	sending.Wait()
	answered := 0
	for _, d := range devices {
		for _, a := range d.answers {
			if a.code != "" || a.seq == 0 {
				t.Errorf("answered %+v", a)
			}
			answered++
		}
		d.close(false) // waits for nothing
	}
	msgs, err := w.store.Read(t.Context(), storage.Range{Chat: chat.DirectChat(w.ids["alice"], w.ids["bob"]), Limit: senders*each + 1})
	if err != nil || len(msgs) != answered {
		t.Errorf("%d are stored, %d answered, %v", len(msgs), answered, err)
	}
}

// plugin refuses what begins with "no", and writes down what was committed.
type plugin struct {
	mu   sync.Mutex
	seen []string
}

func (p *plugin) BeforePublish(_ *hooks.Actor, m *hooks.Publish) error {
	switch {
	case string(m.Payload) == "no":
		return &hooks.Refusal{Code: delivery.CodeQuota, Message: "not now"}
	case string(m.Payload) == "never":
		return errors.New("never")
	}
	return nil
}

func (p *plugin) AfterCommit(ms []*chat.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range ms {
		p.seen = append(p.seen, fmt.Sprintf("%v %d %s", m.Chat.Kind(), m.Seq, m.Body))
	}
}

func (p *plugin) AuthorizeSubscribe(_ *hooks.Actor, filter string) error {
	if filter == "u/alice/typing" {
		return errors.New("no")
	}
	return nil
}

func TestPlugins(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	p := &plugin{}
	w.plugins = []any{p}
	w.restart()
	alice := w.online("alice", "phone")
	for _, tt := range []struct{ body, code string }{{"1", ""}, {"no", delivery.CodeQuota}, {"never", delivery.CodeNotAllowed}, {"2", ""}} {
		if a := alice.publish(text("u/bob", tt.body, 1)); a.code != tt.code {
			t.Errorf("publish of %s: %+v", tt.body, a)
		}
	}
	if r := alice.trySubscribe(1, "u/alice/typing"); r[0] == nil {
		t.Error("a filter was granted that a plugin refuses")
	}
	alice.settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := []string{`1 1 "1"`, `1 2 "2"`}; !slices.Equal(p.seen, want) {
		t.Errorf("told %q, want %q", p.seen, want)
	}
}

// Devices connect and subscribe again and again while others send: nothing may
// slip between what is read and what is handed on.
func TestLoadAndLiveMissNothing(t *testing.T) {
	const messages, rounds = 400, 20
	w := newWorldWith(t, delivery.Config{CursorFlush: time.Millisecond, Window: 8}, "alice", "bob", "carol")
	alice, carol := w.online("alice", "phone"), w.online("carol", "phone")
	w.online("bob", "phone").close(true)
	w.group(alice, "team", "bob", "carol")
	var sending sync.WaitGroup
	for _, d := range []*device{alice, carol} {
		sending.Go(func() {
			for i := range messages {
				d.ask(text([]string{"u/bob", "g/team"}[i%2], fmt.Sprint(i/2), uint16(i+1)))
			}
		})
	}
	got := map[string]map[uint64]int{}
	collect := func(d *device) {
		d.acks.Wait()
		acked := d.acked
		for _, g := range d.deliveries(0) {
			if !slices.Contains(acked, g.tag) {
				continue
			}
			env := g.decode(t)
			if got[env.Chat] == nil {
				got[env.Chat] = map[uint64]int{}
			}
			got[env.Chat][env.Seq]++
		}
	}
	for i := range rounds {
		bob := w.connect("bob", "phone", receiving(1+i%8))
		bob.subscribe(1, "u/bob")
		bob.subscribe(1, "g/team")
		if i%2 == 0 {
			bob.wait("something", func() bool { return len(bob.got) > 5*i%30 })
		}
		bob.close(i%3 == 0)
		collect(bob)
	}
	sending.Wait()
	alice.settle()
	carol.settle()
	last := w.connect("bob", "phone")
	ends := map[string]uint64{"u/alice": messages / 2, "u/carol": messages / 2, "g/team": messages + 1}
	last.wait("the rest", func() bool {
		have := map[string]int{}
		for _, env := range last.messagesLocked() {
			if got[env.Chat][env.Seq] == 0 {
				have[env.Chat]++
			}
		}
		for topic, end := range ends {
			if len(got[topic])+have[topic] < int(end) {
				return false
			}
		}
		return true
	})
	last.acks.Wait()
	last.close(true)
	collect(last)
	for topic, end := range ends {
		for seq := uint64(1); seq <= end; seq++ {
			if n := got[topic][seq]; n != 1 {
				t.Errorf("entry %d of %s was acknowledged %d times", seq, topic, n)
			}
		}
	}
}
