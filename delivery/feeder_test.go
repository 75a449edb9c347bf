package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/chat"
	"tidings/delivery"
	"tidings/storage"
)

// tags returns the tags of the chat deliveries seen so far.
func (d *device) tags() []uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []uint16
	for _, g := range d.got {
		if g.tag != 0 {
			out = append(out, g.tag)
		}
	}
	return out
}

// deliveries returns what has come at QoS 1 or 0 of chats, waiting for n.
func (d *device) deliveries(n int) []got {
	d.w.t.Helper()
	var out []got
	d.wait(fmt.Sprintf("%d deliveries", n), func() bool {
		out = out[:0]
		for _, g := range d.got {
			if g.reply != "" {
				out = append(out, g)
			}
		}
		return len(out) >= n
	})
	return out
}

// seqs returns the seqs of what has come of chats, in order.
func (d *device) seqs() []uint64 {
	var out []uint64
	for _, env := range d.messages() {
		out = append(out, env.Seq)
	}
	return out
}

// to returns the seqs from one to another.
func to(from, last uint64) []uint64 {
	var out []uint64
	for ; from <= last; from++ {
		out = append(out, from)
	}
	return out
}

// cursor returns the stored cursor of a device in a direct chat.
func (w *world) cursor(user, device, peer string) uint64 {
	w.t.Helper()
	d, err := w.store.DeviceByName(w.t.Context(), w.ids[user], device)
	if err != nil {
		w.t.Fatal(err)
	}
	cs, err := w.store.Cursors(w.t.Context(), chat.DirectChat(w.ids[user], w.ids[peer]), w.ids[user], []chat.DeviceID{d.ID})
	if err != nil {
		w.t.Fatal(err)
	}
	return cs[0]
}

// marks returns the stored watermarks of a user in a direct chat.
func (w *world) marks(user, peer string) chat.Watermark {
	w.t.Helper()
	ws, err := w.store.Watermarks(w.t.Context(), chat.DirectChat(w.ids[user], w.ids[peer]), []chat.UserID{w.ids[user]})
	if err != nil {
		w.t.Fatal(err)
	}
	return ws[0]
}

// bubble runs a test under fake time, in which everything has come to rest when
// synctest.Wait returns.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// rest lets everything happen that is under way, and cursors be stored.
func rest() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestWindowHoldsWhatIsOutstanding(t *testing.T) {
	for _, tt := range []struct{ receive, want int }{{0, 64}, {1, 1}, {10, 10}, {65535, 64}} {
		t.Run(fmt.Sprint(tt.receive), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, "alice", "bob")
				alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding, receiving(tt.receive))
				for i := range 100 {
					alice.send("u/bob", fmt.Sprint(i))
				}
				rest()
				// What has fallen behind is read at half a window.
				if n := len(bob.tags()); n > tt.want || 2*n <= tt.want {
					t.Fatalf("%d deliveries are outstanding, the window is %d", n, tt.want)
				}
				bob.release(false)
				rest()
				if got := bob.seqs(); !slices.Equal(got, to(1, 100)) {
					t.Errorf("got %v", got)
				}
				if c := w.cursor("bob", "phone", "alice"); c != 100 {
					t.Errorf("cursor %d", c)
				}
			})
		})
	}
}

// release acknowledges what has come, and from now on at once.
func (d *device) release(refused bool) {
	d.mu.Lock()
	d.hold = false
	d.mu.Unlock()
	for _, tag := range d.tags() {
		d.s.Ack(tag, refused)
	}
}

func TestCursorsMoveInWindowOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding)
		for i := range 4 {
			alice.send("u/bob", fmt.Sprint(i))
		}
		rest()
		tags := bob.tags()
		step := func(tag uint16, want uint64) {
			t.Helper()
			if !bob.s.Ack(tag, false) {
				t.Errorf("tag %d is unknown", tag)
			}
			rest()
			if c := w.cursor("bob", "phone", "alice"); c != want {
				t.Errorf("cursor %d, want %d", c, want)
			}
			if m := w.marks("bob", "alice"); m.Delivered != want {
				t.Errorf("delivered %d, want %d", m.Delivered, want)
			}
		}
		step(tags[1], 0)
		step(tags[2], 0)
		step(tags[0], 3)
		for _, tag := range []uint16{tags[0], tags[2], 0, tags[3] + 1, 60000} {
			if bob.s.Ack(tag, false) {
				t.Errorf("tag %d is not outstanding, and was taken", tag)
			}
		}
		if n := w.e.Stats().UnknownAcks.Load(); n != 5 {
			t.Errorf("%d unknown acks counted", n)
		}
		step(tags[3], 4)
	})
}

func TestRefusedDeliveryPassesButIsNotDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding)
		alice.send("u/bob", "a")
		alice.send("u/bob", "b")
		rest()
		tags := bob.tags()
		bob.s.Ack(tags[0], false)
		bob.s.Ack(tags[1], true)
		rest()
		if c, m := w.cursor("bob", "phone", "alice"), w.marks("bob", "alice"); c != 2 || m.Delivered != 1 {
			t.Errorf("cursor %d, delivered %d, want 2 and 1", c, m.Delivered)
		}
		bob.close(true)
		bob = w.online("bob", "phone")
		rest()
		if got := bob.seqs(); len(got) != 0 {
			t.Errorf("came again: %v", got)
		}
	})
}

// What a device never had is not delivered, whatever its cursor passes.
func TestPassingOverIsNotDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		w.online("bob", "phone").close(true)
		for _, ttl := range []string{"1", "1", "3600"} {
			alice.send("u/bob", `{"body":"x","ttl":`+ttl+`}`)
		}
		time.Sleep(2 * time.Second)
		if err := w.store.Trim(t.Context(), storage.Trim{Chat: chat.DirectChat(w.ids["alice"], w.ids["bob"]), Strip: []uint64{1}}); err != nil {
			t.Fatal(err)
		}
		bob := w.online("bob", "phone", holding)
		rest()
		if got := bob.seqs(); !slices.Equal(got, []uint64{3}) {
			t.Fatalf("got %v", got)
		}
		if c, m := w.cursor("bob", "phone", "alice"), w.marks("bob", "alice"); c != 2 || m.Delivered != 0 {
			t.Errorf("cursor %d, delivered %d, want 2 and 0", c, m.Delivered)
		}
		alice.send("u/bob", `{"body":"x","ttl":1}`)
		rest()
		bob.s.Ack(bob.tags()[0], false)
		rest()
		alice.send("u/bob", `{"body":"x","ttl":1}`)
		rest()
		if m := w.marks("bob", "alice"); m.Delivered != 3 {
			t.Errorf("delivered %d, want 3", m.Delivered)
		}
	})
}

// A device's own messages count as delivered to their author, also those that
// wait behind something outstanding.
func TestOwnMessagesCountAsDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone", holding), w.online("bob", "phone")
		bob.send("u/alice", "1")
		rest()
		alice.send("u/bob", "2")
		alice.send("u/bob", "3")
		rest()
		if m := w.marks("alice", "bob"); m.Delivered != 0 {
			t.Errorf("delivered %d before the first was acknowledged", m.Delivered)
		}
		alice.release(false)
		rest()
		if c, m := w.cursor("alice", "phone", "bob"), w.marks("alice", "bob"); c != 3 || m.Delivered != 3 {
			t.Errorf("cursor %d, delivered %d, want 3 and 3", c, m.Delivered)
		}
		if got := w.online("alice", "laptop"); len(got.seqs()) != 0 {
			t.Errorf("a new device got %v", got.seqs())
		}
	})
}

func TestQoS0SubscriptionMovesTheCursorAndDeliversNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		alice.send("u/bob", "early")
		bob := w.connect("bob", "phone")
		bob.subscribe(0, "u/bob/#")
		alice.send("u/bob", "live")
		rest()
		for _, g := range bob.deliveries(2) {
			if g.qos != 0 || g.tag != 0 || g.dup {
				t.Errorf("delivered %+v", g)
			}
		}
		if c, m := w.cursor("bob", "phone", "alice"), w.marks("bob", "alice"); c != 2 || m.Delivered != 0 {
			t.Errorf("cursor %d, delivered %d, want 2 and 0", c, m.Delivered)
		}
		w.crash()
		alice = w.online("alice", "phone")
		alice.send("u/bob", "after")
		bob = w.connect("bob", "phone") // taken up again: DUP has to be 0 at QoS 0 [MQTT-3.3.1-2]
		if !bob.info.Present {
			t.Error("the session was not taken up again")
		}
		rest()
		for _, g := range bob.deliveries(1) {
			if g.qos != 0 || g.dup {
				t.Errorf("delivered %+v", g)
			}
		}
	})
}

func TestFullOutputWaitsForRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
		bob.stick(true)
		for i := range 100 {
			alice.send("u/bob", fmt.Sprint(i))
		}
		rest()
		if got := bob.seqs(); len(got) != 0 {
			t.Fatalf("a full output got %v", got)
		}
		bob.stick(false)
		bob.s.Writable()
		rest()
		if got := bob.seqs(); !slices.Equal(got, to(1, 100)) {
			t.Errorf("got %v", got)
		}
	})
}

func (d *device) stick(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stuck = on
}

func TestTooLargeComesCutOrNotAtAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		limited := func(n int) option { return func(_ *delivery.OpenOptions, d *device) { d.largest = n } }
		bob := w.online("bob", "phone", limited(400))
		alice.send("u/bob", strings.Repeat("a", 600))
		rest()
		env := bob.messages()
		if len(env) != 1 || !env[0].Cut || env[0].Body != nil {
			t.Fatalf("got %+v", env)
		}
		if c, m := w.cursor("bob", "phone", "alice"), w.marks("bob", "alice"); c != 1 || m.Delivered != 0 {
			t.Errorf("cursor %d, delivered %d, want 1 and 0", c, m.Delivered)
		}
		bob.close(true)
		bob = w.online("bob", "phone", limited(20))
		alice.send("u/bob", "small")
		rest()
		if c, m := w.cursor("bob", "phone", "alice"), w.marks("bob", "alice"); c != 2 || m.Delivered != 0 || len(bob.seqs()) != 0 {
			t.Errorf("cursor %d, delivered %d, got %v", c, m.Delivered, bob.seqs())
		}
		if s := w.e.Stats(); s.Cut.Load() == 0 || s.TooLarge.Load() != 1 {
			t.Errorf("cut %d, too large %d", s.Cut.Load(), s.TooLarge.Load())
		}
	})
}

func TestDirectMessagePassesAGroupsBacklog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		w.online("bob", "phone").close(true)
		w.group(alice, "team", "bob")
		for i := range 2000 {
			alice.send("g/team", fmt.Sprint(i))
		}
		bob := w.online("bob", "phone", holding)
		rest()
		alice.send("u/bob", "direct")
		bob.release(false)
		rest()
		at := slices.IndexFunc(bob.messages(), func(e chat.Envelope) bool { return e.Chat == "u/alice" })
		if at < 0 || at > 2*64 {
			t.Errorf("the direct message came as number %d", at)
		}
		if n := len(bob.messages()); n != 2000+3 { // with sys.create and two events
			t.Errorf("%d messages", n)
		}
	})
}

// group makes a group through the engine.
func (w *world) group(owner *device, name string, members ...string) {
	w.t.Helper()
	if _, err := w.e.CreateGroup(w.t.Context(), owner.s.Identity().Actor, delivery.GroupSpec{Name: name, Members: members}); err != nil {
		w.t.Fatalf("create group %s: %v", name, err)
	}
}

// A device that acknowledges everything but its first message costs no more than
// its window: nobody reads its log over and over.
func TestOneMissingAckKeepsNobodyBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorldWith(t, delivery.Config{CursorFlush: time.Second}, "alice", "bob")
		alice := w.online("alice", "phone")
		w.online("bob", "phone").close(true)
		ps := make([]delivery.Publish, 500)
		for i := range ps {
			ps[i] = text("u/bob", "x", uint16(i+1))
		}
		for range 20 {
			alice.ask(ps...)
		}
		alice.settle()
		reads := 0
		w.gate.on("Read", func() error { reads++; return nil })
		bob := w.online("bob", "phone", func(_ *delivery.OpenOptions, d *device) { d.skip = 1 })
		rest() // would not return
		if n := len(bob.tags()); n > 8192+64 || n < 8192 {
			t.Errorf("%d deliveries behind one that is not acknowledged", n)
		}
		if reads > 8192 {
			t.Errorf("the log was read %d times", reads)
		}
		bob.s.Ack(bob.tags()[0], false)
		rest()
		if got := bob.seqs(); !slices.Equal(got, to(1, 10000)) {
			t.Errorf("got %d messages", len(got))
		}
	})
}

// Nothing may be sent in front of CONNACK [MQTT-3.2.0-1].
func TestNothingIsSentBeforeStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		w.online("bob", "phone").close(true)
		alice.send("u/bob", "hi")
		bob := w.connect("bob", "phone", func(_ *delivery.OpenOptions, d *device) { d.late = true })
		alice.publish(delivery.Publish{Topic: []byte("u/bob/typing"), QoS: 0})
		alice.send("u/bob", "ho")
		rest()
		if len(bob.got) != 0 {
			t.Errorf("got %+v", bob.got)
		}
		bob.s.Start()
		rest()
		if got := bob.seqs(); !slices.Equal(got, to(1, 2)) {
			t.Errorf("got %v", got)
		}
	})
}

func TestAGuestIsLiveOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		alice.send("u/bob", "early")
		guest := w.connect("bob", "")
		// While the heads are read, which are nothing to a guest.
		w.gate.on("Inbox", func() error { time.Sleep(1500 * time.Millisecond); return nil })
		guest.subscribe(1, "u/bob/#")
		alice.send("u/bob", "live")
		rest()
		w.gate.on("Inbox", nil)
		if got := guest.texts("u/alice", 1); !slices.Equal(got, []string{"live"}) {
			t.Errorf("the guest got %q", got)
		}
		if got := w.online("bob", "phone").texts("u/alice", 2); !slices.Equal(got, []string{"early", "live"}) {
			t.Errorf("the first device got %q", got)
		}
	})
}

func TestFiveThousandChats(t *testing.T) {
	const n = 5000
	names := []string{"bob"}
	for i := range n {
		names = append(names, fmt.Sprintf("u%d", i))
	}
	w := newWorld(t, names...)
	w.online("bob", "phone").close(true)
	for _, from := range names[1:] {
		d := w.connect(from, "x")
		d.send("u/bob", from)
		d.close(true)
	}
	bob := w.online("bob", "phone")
	seen := map[string]int{}
	bob.wait("all messages", func() bool { return len(bob.got) >= n })
	for _, g := range bob.deliveries(n) {
		seen[g.reply]++
	}
	for _, from := range names[1:] {
		if seen["u/"+from] != 1 {
			t.Fatalf("%d messages of %s", seen["u/"+from], from)
		}
	}
}

// after is a channel that is closed after some milliseconds.
func after(ms int) <-chan time.Time { return time.After(time.Duration(ms) * time.Millisecond) }

// decode returns the envelope that was delivered.
func (g got) decode(t *testing.T) chat.Envelope {
	t.Helper()
	env, err := chat.DecodeEnvelope([]byte(g.payload))
	if err != nil {
		t.Fatalf("on %s: %v", g.topic, err)
	}
	return env
}
