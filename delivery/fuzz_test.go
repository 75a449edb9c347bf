package delivery_test

import (
	"errors"
	"testing"

	"tidings/delivery"
	"tidings/storage"
)

// FuzzState checks that no kept state makes its reader panic, and that a window
// it lets through is one that a session can have had.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"v":1}`, `{"v":2}`, `{"v":1,"e":3,"u":true,"p":true,"x":5,"t":65534}`,
		`{"v":1,"p":true,"s":[{"f":"u/bob/#","q":1,"i":7}],"t":9,"w":[{"c":{"Hi":1,"Lo":2},"s":4,"d":true,"m":true}]}`,
		`{"v":1,"w":[{"c":{"Hi":1,"Lo":2},"s":0}]}`, `{"v":1,"t":65535}`,
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
