package e2e_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidings/internal/mqttest/server"
)

// secret is a text that no compression can hide in a file.
func secret() string {
	b := make([]byte, 200)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// onDisk tells whether a text is in any file of the data directory.
func (w *world) onDisk(text string) bool {
	w.t.Helper()
	found := false
	err := filepath.WalkDir(w.Data(), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // files come and go while the server works
		}
		b, err := os.ReadFile(name)
		found = found || err == nil && bytes.Contains(b, []byte(text))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// pass waits until a time that is the subject of a test has passed.
func pass(d time.Duration) { <-time.After(d) }

// gone checks that the body of the only message of a chat is nowhere any more.
func (w *world) gone(c *client, chat, text string) {
	w.t.Helper()
	if w.onDisk(text) {
		w.t.Error("the text is still on disk")
	}
	p := c.history(map[string]any{"chat": chat, "limit": 500})
	for _, e := range p.Messages {
		if e.text() == text {
			w.t.Errorf("history shows seq %d", e.Seq)
		}
		if e.Body == nil && !e.Stub {
			w.t.Errorf("seq %d has neither a body nor is it a stub", e.Seq)
		}
	}
}

// What is dropped is gone from disk, its seq is not used again, and a retry of it still finds its first seq; also after
// a restart.
func TestRetentionByConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{Args: withConfig(t, "retention: 1s\n")})
	ls := w.logins("alice/laptop", "bob/phone")
	alice, bob := w.online(ls[0], v5), w.online(ls[1], v5)
	text := secret()
	first := alice.send(bob.me(), `{"cid":"1","body":"`+text+`"}`)
	bob.texts(bob.me(), text)
	if !w.onDisk(text) {
		t.Fatal("the text is not found on disk to begin with")
	}
	pass(1100 * time.Millisecond)
	w.cli("", "store", "compact")
	w.gone(alice, bob.me(), text)
	if list, _ := chats(alice, nil); len(list) != 1 || list[0].Head != 1 || list[0].Floor != 2 {
		t.Errorf("chat.list %+v", list)
	}
	for range 2 {
		if again := alice.send(bob.me(), `{"cid":"1","body":"`+text+`"}`); again.seq != first.seq {
			t.Errorf("the retry got seq %d, the first send %d", again.seq, first.seq)
		}
		w.restart()
		alice = w.online(ls[0], v5)
	}
	if next := alice.send(user(ls[1]), "next"); next.seq != 2 {
		t.Errorf("the swept chat goes on at %d, want 2", next.seq)
	}
	bob = w.online(ls[1], v5)
	bob.texts(bob.me(), "next")
}

func TestRetentionOfChats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	ls := w.logins("alice/laptop", "bob/phone", "carol/phone", "dave/phone")
	alice, bob, carol := w.online(ls[0], v5), w.online(ls[1], v3), w.online(ls[2], v5)
	group := "g-" + ls[0].User
	alice.call("group.create", map[string]any{"group": group, "members": []string{ls[2].User}}, nil)

	alice.call("chat.update", map[string]any{"chat": bob.me(), "retention": "1s"}, nil)
	alice.call("group.update", map[string]any{"group": group, "retention": "1s"}, nil)
	alice.call("chat.update", map[string]any{"chat": user(ls[3]), "retention": "delivered"}, nil)
	direct, inGroup, delivered, withTTL, kept := secret(), secret(), secret(), secret(), secret()
	alice.send(bob.me(), direct)
	alice.send("g/"+group, inGroup)
	alice.send(user(ls[3]), delivered)
	alice.send(carol.me(), fmt.Sprintf(`{"body":%q,"ttl":1}`, withTTL))
	alice.send(carol.me(), kept)
	pass(1100 * time.Millisecond)
	w.cli("", "store", "compact")
	w.gone(alice, bob.me(), direct)
	w.gone(alice, "g/"+group, inGroup)
	w.gone(alice, carol.me(), withTTL)
	for text, why := range map[string]string{kept: "is to be kept forever", delivered: "has not been delivered"} {
		if !w.onDisk(text) {
			t.Errorf("a text that %s is gone", why)
		}
	}

	// The stream steps over what was removed, and "delivered" is as good as its word once all devices have it.
	dave := w.online(ls[3], v5)
	dave.texts(dave.me(), delivered)
	dave.Disconnect()
	eventually(t, "dave's cursor to be stored, and the text to be gone", func() bool {
		w.cli("", "store", "compact")
		return !w.onDisk(delivered)
	})
	w.gone(alice, user(ls[3]), delivered)
	late := w.online(w.device(ls[2], "new"), v5)
	if p := late.history(map[string]any{"chat": alice.me()}); len(p.Messages) != 2 || !p.Messages[0].Stub || p.Messages[1].text() != kept {
		t.Errorf("history %+v", p)
	}
	alice.callRefused("chat.update", map[string]any{"chat": bob.me(), "retention": "soon"}, "malformed")
	carol.callRefused("chat.update", map[string]any{"chat": "g/" + group, "retention": "1h"}, "forbidden")
}

func TestExpiredIsNotDelivered(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice, bob := w.online(ls[0], v5), w.online(ls[1], v5)
	bob.Disconnect()
	alice.send(bob.me(), `{"body":"for a second","ttl":1}`)
	alice.send(bob.me(), `{"body":"for an hour","ttl":3600}`)
	pass(1100 * time.Millisecond)
	bob = w.connect(ls[1], v5)
	m := bob.on(bob.me())
	props, err := m.Properties()
	if left := props.Numbers[2]; err != nil || m.text() != "for an hour" || left < 3590 || left > 3600 {
		t.Errorf("%s with message expiry interval %d", m.Payload, left)
	}
}
