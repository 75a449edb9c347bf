package delivery_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/chat"
	"tidings/delivery"
)

// receipts returns what a device has heard of a chat, "user delivered/read" of a
// member's marks and "seq delivered_by/read_by" of counts.
func (d *device) receipts(topic string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, g := range d.got {
		if !strings.HasSuffix(g.topic, "/receipts") {
			continue
		}
		var r struct {
			Chat, User      string
			Delivered, Read uint64
			Seq             uint64
			DeliveredBy     int `json:"delivered_by"`
			ReadBy          int `json:"read_by"`
		}
		if err := json.Unmarshal([]byte(g.payload), &r); err != nil {
			d.w.t.Fatal(err)
		}
		switch {
		case r.Chat != topic:
		case r.User != "":
			out = append(out, fmt.Sprintf("%s %d/%d", r.User, r.Delivered, r.Read))
		default:
			out = append(out, fmt.Sprintf("%d %d/%d", r.Seq, r.DeliveredBy, r.ReadBy))
		}
	}
	return out
}

// read marks a chat as read.
func (d *device) read(topic string, seq uint64) {
	d.w.t.Helper()
	p := delivery.Publish{Topic: []byte(topic + "/read"), Payload: fmt.Appendf(nil, `{"seq":%d}`, seq), QoS: 1, PacketID: 9}
	if a := d.publish(p); a.code != "" {
		d.w.t.Errorf("%s: read of %s refused: %s", d.name, topic, a.code)
	}
}

func wantReceipts(t *testing.T, d *device, topic string, want ...string) {
	t.Helper()
	if got := d.receipts(topic); !slices.Equal(got, want) {
		t.Errorf("%s heard %q of %s, want %q", d.name, got, topic, want)
	}
}

// Delivered is what a device has acknowledged, told once it is durable; read is
// what the user says. They only grow.
func TestReceipts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding)
		tablet := w.online("bob", "tablet", holding)
		alice.fill(3)
		rest()
		wantReceipts(t, alice, "u/bob")
		w.gate.on("Advance", func() error { return fmt.Errorf("no disk") })
		bob.ack(bob.tags()[1]) // the first is the event of a new device
		bob.ack(bob.tags()[0])
		rest()
		wantReceipts(t, alice, "u/bob")
		w.gate.on("Advance", nil)
		rest()
		wantReceipts(t, alice, "u/bob", "bob 1/0")
		tablet.release(false)
		rest()
		bob.ack(bob.tags()[2]) // behind the tablet: no news
		rest()
		wantReceipts(t, alice, "u/bob", "bob 1/0", "bob 3/0")
		bob.read("u/alice", 2)
		rest()
		bob.read("u/alice", 1)
		rest()
		bob.read("u/alice", 99) // as far as the log goes
		rest()
		wantReceipts(t, alice, "u/bob", "bob 1/0", "bob 3/0", "bob 3/2", "bob 3/3")
		wantReceipts(t, tablet, "u/alice", "alice 3/0", "bob 3/2", "bob 3/3")
		if m := w.marks("bob", "alice"); m.Delivered != 3 || m.Read != 3 {
			t.Errorf("marks %+v", m)
		}
		w.crash()
		alice, bob = w.online("alice", "phone"), w.online("bob", "phone")
		rest()
		bob.read("u/alice", 1)
		rest()
		for _, r := range alice.receipts("u/bob") {
			if r != "bob 3/3" {
				t.Errorf("a mark went back over a crash: %q", r)
			}
		}
	})
}

func TestReceiptsArePrivate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob", "carol")
		off := false
		if _, err := w.e.UpdateUser(t.Context(), w.ids["bob"], delivery.UserChange{ReadReceipts: &off}); err != nil {
			t.Fatal(err)
		}
		alice, bob, carol := w.online("alice", "phone"), w.online("bob", "phone"), w.online("carol", "phone")
		alice.send("u/bob", "1")
		bob.send("u/alice", "2")
		alice.send("u/carol", "1")
		rest()
		bob.read("u/alice", 2)
		alice.read("u/bob", 2)
		if err := w.e.SetBlock(t.Context(), w.actor("carol"), "alice", true); err != nil {
			t.Fatal(err)
		}
		carol.read("u/alice", 1)
		rest()
		for _, r := range append(alice.receipts("u/bob"), bob.receipts("u/alice")...) {
			if strings.HasPrefix(r, "bob") && r != "bob 2/2" && !strings.HasSuffix(r, "/0") {
				t.Errorf("heard %q", r)
			}
		}
		if slices.Contains(alice.receipts("u/bob"), "bob 2/2") || slices.Contains(bob.receipts("u/alice"), "alice 2/2") {
			t.Errorf("read receipts that are off were told: %q, %q", alice.receipts("u/bob"), bob.receipts("u/alice"))
		}
		wantReceipts(t, alice, "u/carol", "carol 1/0") // before the block
		marks, err := w.e.Receipts(t.Context(), w.actor("alice"), "u/bob")
		if err != nil || slices.ContainsFunc(marks, func(m delivery.MemberMark) bool { return m.User == "bob" && m.Read != 0 }) {
			t.Errorf("on request: %+v, %v", marks, err)
		}
		marks, err = w.e.Receipts(t.Context(), w.actor("alice"), "u/carol")
		if err != nil || slices.ContainsFunc(marks, func(m delivery.MemberMark) bool { return m.User == "carol" && m.Delivered+m.Read != 0 }) {
			t.Errorf("of one who has blocked her: %+v, %v", marks, err)
		}
	})
}

func TestGroupReceiptsAreCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob", "carol")
		alice, bob, carol := w.online("alice", "phone"), w.online("bob", "phone"), w.online("carol", "phone", holding)
		w.group(alice, "team", "bob", "carol")
		rest()
		a := alice.send("g/team", "hi")
		rest()
		carol.release(false)
		rest()
		bob.read("g/team", a.seq)
		rest()
		wantReceipts(t, alice, "g/team", "2 1/0", "2 2/0", "2 2/1")
		marks, err := w.e.Receipts(t.Context(), w.actor("carol"), "g/team")
		want := []delivery.MemberMark{{User: "alice", Delivered: 2}, {User: "bob", Delivered: 2, Read: 2}, {User: "carol", Delivered: 2}}
		if err != nil || !slices.Equal(marks, want) {
			t.Errorf("on request: %+v, %v", marks, err)
		}
		if _, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
			t.Fatal(err)
		}
		alice.send("g/team", "without him")
		rest()
		if ws, err := w.store.Watermarks(t.Context(), w.groupChat("team"), []chat.UserID{w.ids["bob"]}); err != nil || ws[0].Delivered != 3 || ws[0].Read != 2 {
			t.Errorf("who has left is at %+v, %v", ws, err)
		}
	})
}

// groupChat returns the log of a group.
func (w *world) groupChat(name string) chat.ID {
	w.t.Helper()
	gs, err := w.store.GroupsByName(w.t.Context(), []string{name})
	if err != nil {
		w.t.Fatal(err)
	}
	return chat.GroupChat(gs[0].ID)
}

// Account events are a log of their own, and come to devices that were away.
func TestEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		bob := w.online("bob", "phone")
		bob.close(true)
		w.group(alice, "team", "bob")
		w.connect("bob", "tablet")
		if err := w.e.RevokeDevice(t.Context(), w.ids["bob"], "tablet"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
			t.Fatal(err)
		}
		bob = w.online("bob", "phone")
		want := []string{"group.added", "device.added", "device.revoked", "group.removed"}
		if got := bob.heard("u/bob/events"); !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
		bob.close(true)
		bob = w.online("bob", "phone")
		if got := bob.heard("u/bob/events"); len(got) != 0 {
			t.Errorf("came again: %q", got)
		}
	})
}

func TestSentIsWantedByWhoSubscribes(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.connect("alice", "phone")
	if a := alice.send("u/bob", "1"); a.sent {
		t.Error("without a subscription")
	}
	alice.subscribe(0, "u/alice/sent")
	if a := alice.send("u/bob", "2"); !a.sent {
		t.Error("of a stored message")
	}
	if a := alice.publish(text("u/nobody", "3", 1)); !a.sent || a.code == "" {
		t.Errorf("of a refusal: %+v", a)
	}
}

// Filters that overlap give one delivery at the highest QoS with every identifier,
// and subscribing again does not begin anew.
func TestOverlappingFilters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.connect("bob", "phone")
		subs := []delivery.Subscription{
			{Filter: "u/bob/#", QoS: 0, ID: 7}, {Filter: "u/bob", QoS: 2, ID: 8}, {Filter: "u/+", QoS: 0, ID: 0},
		}
		granted, err := bob.s.Subscribe(t.Context(), subs[:2])
		if err != nil || granted[0].Refusal != nil || granted[1].Refusal != nil {
			t.Fatal(granted, err)
		}
		bob.s.Feed()
		alice.fill(2)
		rest()
		if _, err := bob.s.Subscribe(t.Context(), subs[:2]); err != nil {
			t.Fatal(err)
		}
		bob.s.Feed()
		rest()
		got := bob.deliveries(2)
		if len(got) != 2 {
			t.Fatalf("%d deliveries", len(got))
		}
		for _, g := range got {
			if g.qos != 1 || !slices.Equal(g.filters, []uint32{7, 8}) {
				t.Errorf("delivered %+v", g)
			}
		}
	})
}

func TestFiltersOfOthersAreRefused(t *testing.T) {
	w := newWorldWith(t, delivery.Config{Subscriptions: 3}, "alice", "bob")
	w.group(w.connect("alice", "x"), "team")
	bob := w.connect("bob", "phone")
	for _, f := range []string{"u/alice", "u/alice/#", "g/team", "g/nobody", "#", "$SYS/#", "u/alice/receipts"} {
		if r := bob.trySubscribe(1, f); r[0] == nil {
			t.Errorf("%s was granted", f)
		}
	}
	if got := bob.trySubscribe(1, "u/bob", "u/bob/events", "u/bob/sent", "u/bob/receipts"); got[2] != nil || got[3] == nil || got[3].Code != delivery.CodeQuota {
		t.Errorf("over the limit: %v", got)
	}
}

// What is outside a device's filters waits in its inbox.
func TestChatsOutsideTheFiltersWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		bob := w.connect("bob", "phone")
		bob.subscribe(1, "g/+")
		w.group(alice, "team", "bob")
		alice.fill(3)
		alice.send("g/team", "hi")
		rest()
		if got := bob.types("u/alice"); len(got) != 0 {
			t.Errorf("outside its filters came %q", got)
		}
		bob.close(false)
		w.crash()
		alice = w.online("alice", "phone")
		alice.send("u/bob", "3")
		bob = w.connect("bob", "phone")
		bob.subscribe(1, "u/bob")
		if got := bob.heard("u/alice"); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
			t.Errorf("got %q", got)
		}
	})
}

// Retention ends what it has to, keeps what it must, and never gives a seq again.
func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	bubble(t, func(t *testing.T) {
		w := newWorldWith(t, delivery.Config{CursorFlush: time.Hour, SweepInterval: 1000 * day}, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
		direct := chat.DirectChat(w.ids["alice"], w.ids["bob"])
		sweep := func() {
			t.Helper()
			if err := w.e.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		pass := func(d time.Duration) { // without an engine, whose timers would make it long
			bob.close(true)
			alice.close(true)
			w.stop()
			time.Sleep(d)
			w.start()
		}
		stubs := func() (out []bool) {
			t.Helper()
			page, err := w.e.History(t.Context(), w.actor("alice"), "u/bob", 0, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range page.Messages {
				env, err := chat.DecodeEnvelope(b)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, env.Stub)
			}
			return out
		}
		alice.stored(text("u/bob", `{"cid":"a","body":"1"}`, 1), 1)
		alice.stored(text("u/bob", `{"body":"2","ttl":60}`, 2), 2)
		alice.stored(text("u/bob", "3", 3), 3)
		sweep()
		if got := stubs(); slices.Contains(got, true) {
			t.Errorf("forever, and within its ttl: stubs %v", got)
		}
		time.Sleep(2 * time.Minute)
		sweep()
		if got := stubs(); !slices.Equal(got, []bool{false, true, false}) {
			t.Errorf("after the ttl: stubs %v", got)
		}
		if err := w.e.SetRetention(t.Context(), w.actor("bob"), "u/alice", "12h"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(13 * time.Hour)
		alice.stored(text("u/bob", "4", 4), 4)
		sweep()
		if got := stubs(); !slices.Equal(got, []bool{true, true, true, false}) {
			t.Errorf("after 12h: stubs %v", got)
		}
		alice.stored(text("u/bob", `{"cid":"a","body":"1"}`, 1), 1) // a retry after the body is gone
		if a := alice.publish(text("u/bob", `{"cid":"a","body":"2"}`, 1)); a.code != delivery.CodeConflict {
			t.Errorf("another body for the cid: %+v", a)
		}
		pass(3 * day)
		sweep()
		if got := stubs(); !slices.Equal(got, []bool{true, true, true, true}) { // the first has a cid, and the rest stands behind it
			t.Errorf("after 3 days: stubs %v", got)
		}
		pass(5 * day)
		sweep()
		if got := stubs(); !slices.Equal(got, []bool{true}) {
			t.Errorf("after 8 days the last is kept alone: %v", got)
		}
		alice = w.online("alice", "phone")
		alice.stored(text("u/bob", "5", 4), 5)
		infos, err := w.store.Chats(t.Context(), []chat.ID{direct})
		if err != nil || infos[0].Head != 5 || infos[0].Floor != 5 {
			t.Errorf("the chat is %+v, %v", infos, err)
		}
	})
}

func TestRetentionUntilDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorldWith(t, delivery.Config{CursorFlush: time.Second, SweepInterval: 1000 * time.Hour, Retention: "delivered"}, "alice", "bob", "carol")
		alice, phone := w.online("alice", "phone"), w.online("bob", "phone")
		tablet := w.online("bob", "tablet", holding)
		w.connect("carol", "x") // without an inbox
		alice.fill(2)
		alice.send("u/carol", "1")
		swept := func(topic string, want int) {
			t.Helper()
			time.Sleep(5 * time.Second)
			if err := w.e.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			page, err := w.e.History(t.Context(), w.actor("alice"), topic, 0, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, b := range page.Messages {
				if strings.Contains(string(b), `"stub":true`) {
					n++
				}
			}
			if n != want {
				t.Errorf("%s has %d stubs, want %d", topic, n, want)
			}
		}
		phone.texts("u/alice", 2)
		swept("u/bob", 0)
		tablet.ack(tablet.tags()[0])
		swept("u/bob", 1)
		tablet.release(false)
		swept("u/bob", 2)
		swept("u/carol", 0)
		for _, d := range []*device{alice, phone, tablet} {
			d.close(true)
		}
		w.stop()
		time.Sleep(31 * 24 * time.Hour)
		w.start()
		swept("u/carol", 1)
	})
}
