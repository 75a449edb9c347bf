package delivery_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/chat"
	"tidings/delivery"
	"tidings/storage"
	"tidings/storage/storagetest"
)

// types returns the types and texts of a chat's entries that a device has.
func (d *device) types(topic string) []string {
	var out []string
	for _, env := range d.messages() {
		if env.Chat != topic {
			continue
		}
		if text, ok := env.Text(); ok && env.Type == chat.TypeText {
			out = append(out, text)
		} else {
			out = append(out, env.Type)
		}
	}
	return out
}

// TestRemovedWhileConnecting removes a member while his device has read its inbox
// and is about to be listed among the group's live sessions.
func TestRemovedWhileConnecting(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	if _, err := w.e.CreateGroup(t.Context(), w.actor("alice"), delivery.GroupSpec{Name: "team", Members: []string{"bob"}}); err != nil {
		t.Fatal(err)
	}
	alice.send("g/team", "hello")
	var once atomic.Bool
	w.gate.behind("Inbox", func() error {
		if once.CompareAndSwap(false, true) {
			if _, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
				t.Error(err)
			}
			alice.settle()
		}
		return nil
	})
	bob := w.connect("bob", "phone")
	bob.subscribe(1, "u/bob/#", "g/+/#")
	want := []string{chat.TypeSysCreate, "hello", chat.TypeSysRemove}
	bob.wait("the entry that removed him", func() bool {
		return len(bob.messagesLocked()) >= len(want)
	})
	alice.send("g/team", "secret")
	alice.send("u/bob", "end")
	bob.texts("u/alice", 1)
	if got := bob.types("g/team"); !slices.Equal(got, want) {
		t.Errorf("bob has %v, want %v", got, want)
	}
}

// slowSync is a store whose appends, while it is armed, can be seen in member rows
// but not in heads until they are let go, as in a store that shows a batch before
// it has synced it.
type slowSync struct {
	storage.Store
	armed   atomic.Bool
	waiting chan struct{} // gets a value when an Append waits
	let     chan struct{} // closed: Appends return

	mu   sync.Mutex
	held map[chat.ID]uint64
}

func (s *slowSync) Append(ctx context.Context, b *storage.Batch) error {
	if !s.armed.CompareAndSwap(true, false) {
		return s.Store.Append(ctx, b)
	}
	s.mu.Lock()
	for i := range b.Entries {
		id := b.Entries[i].Message.Chat
		infos, err := s.Store.Chats(ctx, []chat.ID{id})
		if err != nil {
			s.mu.Unlock()
			return err
		}
		s.held[id] = infos[0].Head
	}
	s.mu.Unlock()
	err := s.Store.Append(ctx, b)
	s.waiting <- struct{}{}
	<-s.let
	s.mu.Lock()
	clear(s.held)
	s.mu.Unlock()
	return err
}

func (s *slowSync) Chats(ctx context.Context, ids []chat.ID) ([]storage.ChatInfo, error) {
	infos, err := s.Store.Chats(ctx, ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range infos {
		if at, ok := s.held[infos[i].ID]; ok {
			infos[i].Head = min(infos[i].Head, at)
		}
	}
	return infos, err
}

func (s *slowSync) Inbox(ctx context.Context, u chat.UserID, d chat.DeviceID, after chat.ID, limit int) ([]storage.Tail, error) {
	tails, err := s.Store.Inbox(ctx, u, d, after, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range tails {
		if at, ok := s.held[tails[i].Chat]; ok {
			tails[i].Head = min(tails[i].Head, at)
		}
	}
	return tails, err
}

// TestRemovalNotYetDurable connects a device while the entry that removes its user
// can be seen in his member row but is not durable: he still gets that entry, and
// what comes once he is a member again.
func TestRemovalNotYetDurable(t *testing.T) {
	store := &slowSync{
		Store: storagetest.NewModel(), waiting: make(chan struct{}), let: make(chan struct{}), held: make(map[chat.ID]uint64),
	}
	w := newWorldWith(t, delivery.Config{Store: store, CursorFlush: 5 * time.Millisecond}, "alice", "bob")
	alice := w.online("alice", "phone")
	if _, err := w.e.CreateGroup(t.Context(), w.actor("alice"), delivery.GroupSpec{Name: "team", Members: []string{"bob"}}); err != nil {
		t.Fatal(err)
	}
	alice.send("g/team", "hello")
	first := w.online("bob", "phone")
	first.texts("g/team", 1)
	first.close(true)

	store.armed.Store(true)
	removed := make(chan error, 1)
	go func() {
		_, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"})
		removed <- err
	}()
	<-store.waiting
	var read sync.Once
	loaded := make(chan struct{})
	w.gate.behind("Inbox", func() error {
		read.Do(func() { close(loaded) })
		return nil
	})
	bob := w.connect("bob", "phone")
	bob.subscribe(1, "u/bob/#", "g/+/#")
	<-loaded
	close(store.let)
	if err := <-removed; err != nil {
		t.Fatal(err)
	}
	bob.wait("the entry that removed him", func() bool {
		return slices.ContainsFunc(bob.messagesLocked(), func(env chat.Envelope) bool { return env.Type == chat.TypeSysRemove })
	})
}

// lookedInto is a store that tells before member rows are read.
type lookedInto struct {
	storage.Store
	before func()
}

func (s *lookedInto) Members(ctx context.Context, id chat.ID) ([]chat.Member, uint64, error) {
	if s.before != nil {
		s.before()
	}
	return s.Store.Members(ctx, id)
}

// TestRemovedBehindTyping removes a member while the router makes the group's room
// for a notice of typing that is in front of the removal.
func TestRemovedBehindTyping(t *testing.T) {
	store := &lookedInto{Store: storagetest.NewModel()}
	w := newWorldWith(t, delivery.Config{Store: store, CursorFlush: 5 * time.Millisecond}, "alice", "bob")
	if _, err := w.e.CreateGroup(t.Context(), w.actor("alice"), delivery.GroupSpec{Name: "team", Members: []string{"bob"}}); err != nil {
		t.Fatal(err)
	}
	w.stop()
	var reads atomic.Int32
	committed := make(chan struct{})
	removed := make(chan error, 1)
	store.before = func() {
		if reads.Add(1) != 2 { // the first is the committer's
			return
		}
		w.gate.behind("Append", func() error {
			close(committed)
			w.gate.behind("Append", nil)
			return nil
		})
		go func() {
			_, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"})
			removed <- err
		}()
		<-committed
	}
	w.start()
	alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
	bob.wait("what was in the group", func() bool { return len(bob.messagesLocked()) > 0 })
	bob.settle()
	alice.publish(delivery.Publish{Topic: []byte("g/team/typing"), Payload: []byte(`{"typing":true}`), QoS: 1, PacketID: 7})
	if err := <-removed; err != nil {
		t.Fatal(err)
	}
	bob.wait("the entry that removed him", func() bool {
		return slices.ContainsFunc(bob.messagesLocked(), func(env chat.Envelope) bool { return env.Type == chat.TypeSysRemove })
	})
}
