package delivery_test

import (
	"errors"
	"testing"

	"tidings/delivery"
	"tidings/storage"
	"tidings/topics"
)

// FuzzState checks that no kept state makes its reader panic, and that a window
// it lets through is one that a session can have had.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"v":1}`, `{"v":2}`, `{"v":1,"e":3,"u":true,"p":true,"x":5,"t":65534}`,
		`{"v":1,"p":true,"s":[{"f":"u/bob/#","q":1,"i":7}],"t":9,"w":[{"c":{"Hi":1,"Lo":2},"s":4,"d":true,"m":true}]}`,
		`{"v":1,"w":[{"c":{"Hi":1,"Lo":2},"s":0}]}`, `{"v":1,"t":65535}`,
		`{"v":1,"p":true,"b":2,"r":[3,9],"w":[{"c":{"Hi":1,"Lo":2},"s":4,"q":1}]}`, `{"v":1,"w":[{"c":{"Hi":18446744073709551615,"Lo":2},"s":4,"q":2}]}`, `{"v":1,"w":[{"s":1,"q":9}]}`,
		`{"v":1,"d":[{"p":1,"c":{"Hi":1,"Lo":2},"s":4,"t":5}],"h":[{"p":1}],"c":{"will":1}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := delivery.DecodeState(b)
		switch {
		case err == nil && n > 8192:
			t.Errorf("a window of %d deliveries", n)
		case err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrFormat):
			t.Errorf("%v is of no class", err)
		}
	})
}

// FuzzPublish gives the engine any topic and payload: each publish has one answer,
// and what is stored is what others get.
func FuzzPublish(f *testing.F) {
	for _, topic := range []string{"u/bob", "u/alice", "g/team", "u/bob/typing", "u/bob/read", "u/alice/presence", "u/", "g", "x/y", "u/bob/#", "u/alice/sent"} {
		for _, payload := range []string{"", "hi", "{", `{"body":1}`, `{"cid":"c","body":[1,{"a":null}],"re":{"seq":1},"mentions":["bob"],"ttl":5,"type":"x"}`, `{"seq":3}`, `{"typing":false}`, `{"state":"away"}`, "\xff"} {
			f.Add([]byte(topic), []byte(payload), byte(1), false, false)
		}
	}
	w := newWorld(f, "alice", "bob")
	alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
	w.group(alice, "team", "bob")
	f.Fuzz(func(t *testing.T, topic, payload []byte, qos byte, dup, isText bool) {
		w.t = t // for what fails within
		qos %= 3
		before := len(alice.answers)
		a := alice.publish(delivery.Publish{Topic: topic, Payload: payload, QoS: qos, PacketID: 1, Dup: dup, Text: isText})
		alice.free(1)
		if n := len(alice.answers); n != before+1 {
			t.Fatalf("%d answers", n-before)
		}
		if (a.code != "") && a.seq != 0 {
			t.Errorf("refused and stored: %+v", a)
		}
		for _, d := range []*device{alice, bob} {
			d.mu.Lock()
			for _, g := range d.got {
				if g.reply != "" {
					g.decode(t)
				}
			}
			d.got = nil
			d.mu.Unlock()
		}
	})
}

// FuzzOpenRecords checks the decoders of what queues and retained messages keep:
// none panics, and what one takes is what its encoder makes.
func FuzzOpenRecords(f *testing.F) {
	for _, s := range []string{"", "\x01", "\x01\x00\x01a\x00\x00\x00\x00hi", "\x01\xff\xffa", "\x01\x00\x01a\xff\xff\xff\xff", "\x06\x01\x80\x01", "\x03", "\x01\x00", "\x01\x80\x80\x80\x80\x80\x01", "\x01\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01a\x00\x00\x00\x01phi"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, again := range delivery.OpenRecords(b) {
			if delivery.OpenRecords(again)[name] == nil {
				t.Errorf("%s: %q becomes %q, which is none", name, b, again)
			}
			if name != "manner" && string(again) != string(b) { // whose numbers have several forms
				t.Errorf("%s: %q becomes %q", name, b, again)
			}
		}
	})
}

// FuzzPublishOpen gives the engine any topic, properties and payload: what is
// accepted comes as it was, to a queue and retained.
func FuzzPublishOpen(f *testing.F) {
	for _, topic := range []string{"open/a", "open/", "open//", "open", "open/a/b", "u/bob", "x"} {
		f.Add([]byte(topic), []byte("payload"), []byte("\x02props"), byte(1), true)
		f.Add([]byte(topic), []byte(""), []byte(""), byte(2), false)
	}
	w := openWorld(f, nil, "alice", "bob")
	alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
	bob.opened(2, "open/#")
	f.Fuzz(func(t *testing.T, topic, payload, props []byte, qos byte, retain bool) {
		if !topics.ValidTopicName(string(topic)) {
			t.Skip("the carrier lets none through")
		}
		w.t = t
		a := alice.publish(delivery.Publish{Topic: topic, Payload: payload, Props: props, QoS: qos % 3, PacketID: 1, Retain: retain})
		alice.free(1)
		if a.code != "" {
			return
		}
		if open := topics.Match("open/#", string(topic)); !open {
			return // a message of a chat
		}
		bob.wait("the message", func() bool { return len(bob.got) > 0 })
		bob.mu.Lock()
		defer bob.mu.Unlock()
		if g := bob.got[0]; len(bob.got) != 1 || g.topic != string(topic) || g.payload != string(payload) || g.qos != qos%3 {
			t.Errorf("%q %q became %+v", topic, payload, bob.got)
		}
		bob.got = nil
	})
}
