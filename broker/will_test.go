package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/broker"
	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/internal/mqttest"
)

// openWill is a will on an open topic with all that a will can have.
func openWill(delay uint32) *mqttest.Will {
	return &mqttest.Will{
		Topic: "open/gone", Payload: []byte("\xff{"), QoS: 2, Retain: true,
		Props: (&mqttest.Properties{}).SetNumber(mqttest.PropWillDelay, delay).SetNumber(mqttest.PropMessageExpiry, 7).
			SetString(mqttest.PropContentType, "c").AddUser("k", "v"),
	}
}

func (p *pipes) carrier(key string) string {
	synctest.Wait()
	p.engine.mu.Lock()
	defer p.engine.mu.Unlock()
	return string(p.engine.carrier[key])
}

// Shows MQTT3-3.1.2-16, MQTT3-3.1.2-17, MQTT5-3.1.2-14, MQTT5-3.1.2-15, MQTT5-3.1.3-10.
func TestWillOnOpenTopicIsPublishedAsItIs(t *testing.T) {
	for _, version := range []byte{mqttest.V311, mqttest.V5} {
		synctest.Test(t, func(t *testing.T) {
			p := servePipes(t, broker.Config{})
			defer p.stop()
			p.dial(mqttest.Options{Version: version, ClientID: "c", SessionExpiry: 100, Will: openWill(3)}).Drop()
			time.Sleep(5 * time.Second)
			p.posts()
			want := delivery.Publish{Topic: []byte("open/gone"), Payload: []byte("\xff{"), QoS: 2, Retain: true}
			if version == mqttest.V5 {
				want.Expiry, want.Props = 7, []byte("\x03\x00\x01c\x26\x00\x01k\x00\x01v")
			}
			if len(p.engine.posted) != 1 || fmt.Sprint(p.engine.posted[0]) != fmt.Sprint(want) {
				t.Errorf("posted %+v, want %+v", p.engine.posted, want)
			}
		})
	}
}

func TestWillNeedsATopicOfItsUser(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		for topic, ok := range map[string]bool{"u/bob": true, "g/team": true, "open/x": true, "other/x": false, "rpc/x": false, "u/bob/typing": false, "u/BOB": false} {
			_, err := s.tryDial("alice", "phone", func(o *mqttest.Options) { o.Will = &mqttest.Will{Topic: topic} })
			r, refused := errors.AsType[*mqttest.Refused](err)
			want := map[byte]byte{mqttest.V311: 5, mqttest.V5: 0x90}[m.version]
			if refused == ok || err != nil && (!refused || r.ConnAck.Code != want) {
				t.Errorf("%s: %v", topic, err)
			}
		}
	})
}

func TestTakeoverSendsOnlyWillsOfOpenTopics(t *testing.T) {
	cases := []struct {
		name  string
		will  *mqttest.Will
		clean bool // of the connection that comes
		gone  bool // the first connection has ended before
		sent  bool
	}{
		{"chat", willWith(0), false, false, false},
		{"chat, clean start", willWith(0), true, false, false},
		{"chat with delay, clean start", willWith(30), true, false, false},
		{"chat with delay, gone, clean start", willWith(30), true, true, false},
		{"open", openWill(0), false, false, true},
		{"open, clean start", openWill(0), true, false, true},
		{"open with delay", openWill(30), false, false, false},
		{"open with delay, clean start", openWill(30), true, false, true},
		{"open with delay, gone", openWill(30), false, true, false},
		{"open with delay, gone, clean start", openWill(30), true, true, true},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := servePipes(t, broker.Config{})
				defer p.stop()
				first := p.dial(mqttest.Options{ClientID: "c", SessionExpiry: 1000, Will: k.will})
				if k.gone {
					first.Drop()
					synctest.Wait()
				}
				c := p.dial(mqttest.Options{ClientID: "c", SessionExpiry: 1000, Clean: k.clean})
				time.Sleep(time.Second)
				if posts := p.posts(); len(posts) == 1 != k.sent {
					t.Errorf("sent: %+v", posts)
				}
				time.Sleep(time.Minute)
				if posts := p.posts(); len(posts) == 1 != k.sent {
					t.Errorf("after a minute: %+v", posts)
				}
				c.Disconnect()
			})
		})
	}
}

// TestWillStaysInTheStoreUntilItIsSent: whenever the server ends, the will is either
// sent or kept.
func TestWillStaysInTheStoreUntilItIsSent(t *testing.T) {
	for _, delay := range []uint32{0, 20} {
		synctest.Test(t, func(t *testing.T) {
			p := servePipes(t, broker.Config{})
			defer p.stop()
			during := "not sent"
			p.engine.post = func(*delivery.Publish) error { // the engine's lock is held
				during = string(p.engine.carrier["alice/c"])
				return nil
			}
			p.dial(mqttest.Options{ClientID: "c", SessionExpiry: 1000, Will: willWith(delay)}).Drop()
			time.Sleep(10 * time.Second)
			if kept := p.carrier("alice/c"); strings.Contains(kept, "will") != (delay > 0) {
				t.Errorf("after 10 s kept: %q", kept)
			}
			time.Sleep(20 * time.Second)
			p.posts()
			if !strings.Contains(during, `"cid":"will:1:1"`) {
				t.Errorf("while it was sent, kept was %q", during)
			}
			if want := map[uint32]int{0: 0, 20: 1}[delay]; len(p.engine.forgot) != want || want == 1 && p.engine.forgot[0] != during {
				t.Errorf("forgotten: %q", p.engine.forgot)
			}
		})
	}
}

func TestWillThatCannotBeSentNowIsKept(t *testing.T) {
	for _, k := range []struct {
		err  error
		kept bool
	}{
		{&delivery.Refusal{Code: delivery.CodeUnavailable, Temporary: true}, true},
		{errors.New("nobody knows"), true},
		{&delivery.Refusal{Code: delivery.CodeNotAllowed}, false},
	} {
		for _, delay := range []uint32{0, 5} {
			synctest.Test(t, func(t *testing.T) {
				p := servePipes(t, broker.Config{})
				defer p.stop()
				p.engine.post = func(*delivery.Publish) error { return k.err }
				p.dial(mqttest.Options{ClientID: "c", SessionExpiry: 1000, Will: openWill(delay)}).Drop()
				time.Sleep(10 * time.Second)
				kept := strings.Contains(p.carrier("alice/c"), "will") && len(p.engine.forgot) == 0
				if kept != k.kept {
					t.Errorf("%v, delay %d: kept %v", k.err, delay, kept)
				}
				if n := p.broker.Stats().WillsRefused; n != 1 {
					t.Errorf("%d wills refused", n)
				}
			})
		}
	}
}

func TestShutdownKeepsWills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, broker.Config{})
		p.engine.hold = make(chan struct{})
		c := p.dial(mqttest.Options{ClientID: "c", SessionExpiry: 1000, Will: openWill(0)})
		c.Publish(&mqttest.Publish{Topic: "u/bob", QoS: 1, ID: 1}) // its answer holds the shutdown up
		p.dial(mqttest.Options{ClientID: "dd", SessionExpiry: 1000, Will: openWill(30)}).Drop()
		synctest.Wait()
		time.AfterFunc(40*time.Second, func() { close(p.engine.hold) })
		p.stop()
		time.Sleep(time.Minute)
		if posts := p.posts(); len(posts) > 0 {
			t.Errorf("sent: %+v", posts)
		}
		for _, key := range []string{"alice/c", "alice/dd"} {
			if kept := p.carrier(key); !strings.Contains(kept, "open/gone") {
				t.Errorf("%s: kept %q", key, kept)
			}
		}
	})
}

func TestResumeTakesUpWills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, broker.Config{})
		defer p.stop()
		// What a server keeps at its end is what the next one finds.
		p.dial(mqttest.Options{ClientID: "c", SessionExpiry: 1000, Will: openWill(40)}).Drop()
		kept := p.carrier("alice/c")
		alice := func(device chat.DeviceID) delivery.Identity {
			return delivery.Identity{Actor: hooks.Actor{User: 5, UserName: "alice", Device: device}}
		}
		short := strings.Replace(kept, `"delay":40,`, "", 1)
		q := servePipes(t, broker.Config{})
		defer q.stop()
		q.engine.kept = []delivery.KeptSession{
			{Identity: alice(1), Carrier: []byte(strings.Replace(kept, "open/gone", "open/1", 1)), Crashed: true},
			{Identity: alice(2), Carrier: []byte(strings.Replace(short, "open/gone", "open/2", 1)), Crashed: true},
			{Identity: alice(3), Carrier: []byte(strings.Replace(kept, "open/gone", "open/3", 1)), Until: time.Now().Add(20 * time.Second).UnixMilli()},
			{Identity: alice(4), Carrier: []byte(strings.Replace(kept, "open/gone", "open/4", 1))},
			{Identity: alice(5), Carrier: []byte(`{}`)},
			{Identity: alice(6), Carrier: []byte(`[`)},
		}
		begun := time.Now()
		if err := q.broker.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		q.dial(mqttest.Options{ClientID: "dddd", User: "alice"}) // the fourth device
		at := make(map[string]time.Duration)
		for range 60 {
			time.Sleep(time.Second)
			for _, post := range q.posts() {
				if at[post.topic] == 0 {
					at[post.topic] = time.Since(begun)
				}
			}
		}
		if len(at) != 3 {
			t.Errorf("sent: %v", at)
		}
		between(t, "will of a crash", at["open/1"], 40*time.Second, 42*time.Second)
		between(t, "will without delay", at["open/2"], 10*time.Second, 12*time.Second)
		between(t, "will of a session that expires", at["open/3"], 20*time.Second, 22*time.Second)
		if n := len(q.engine.forgot); n != 3 {
			t.Errorf("%d forgotten", n)
		}
	})
}

func TestTooManyWaitingWillsAreNotPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, broker.Config{})
		defer p.stop()
		p.broker.SetMaxWaitingWills(2)
		for i, user := range []string{"a", "bb", "ccc", "dddd"} {
			p.dial(mqttest.Options{User: user, ClientID: "c", SessionExpiry: 1000, Will: openWill(uint32(60 - i))}).Drop()
			synctest.Wait()
		}
		if posts := p.posts(); len(posts) != 2 || posts[0].user != "ccc" || posts[1].user != "dddd" {
			t.Errorf("sent: %+v", posts)
		}
		if n := p.broker.Stats().WillsHurried; n != 2 {
			t.Errorf("%d wills hurried", n)
		}
		time.Sleep(50 * time.Second)
		p.dial(mqttest.Options{User: "a", ClientID: "c"}) // comes back in time
		time.Sleep(20 * time.Second)
		if posts := p.posts(); len(posts) != 3 || posts[2].user != "bb" {
			t.Errorf("sent: %+v", posts)
		}
	})
}
