package pebble

import (
	"sync"

	"tidings/chat"
)

// head is the end of a chat's log.
type head struct {
	seq  uint64
	time int64 // of the last entry, Unix ms
}

// heads remembers the ends of chats that were appended to lately, at most max of
// them beside those of Appends under way; the longest unused go first (roughly:
// second chance).
//
// It also keeps readers from what is not durable yet. Pebble shows a batch before
// its log record is synced; an Append therefore holds its chats at their old
// heads for as long as it waits. Readers take their snapshot first and ask heads
// second: if the chat is held, they see the old head; if it is not, every entry
// in their snapshot was durable by then.
//
// Only Append puts heads in, because only it knows that nothing newer is on its
// way: a reader's head could be outdated by the time it arrives.
type heads struct {
	max int

	mu    sync.Mutex
	known map[chat.ID]*knownHead
	ring  []*knownHead // all of known, the hand goes round
	hand  int
}

type knownHead struct {
	id   chat.ID
	head head
	held bool // an Append is under way
	used bool // since the hand last passed
}

func newHeads(max int) *heads {
	return &heads{max: max, known: make(map[chat.ID]*knownHead)}
}

// get returns the durable head, if it is known.
func (h *heads) get(id chat.ID) (head, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.known[id]
	if k == nil {
		return head{}, false
	}
	k.used = true
	return k.head, true
}

// hold puts the chat in with the head that an Append begins with.
func (h *heads) hold(id chat.ID, at head) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.known[id]
	if k == nil {
		// Not marked as used: of chats touched once, many may pass through
		// without driving out those that are touched again.
		k = &knownHead{id: id, held: true}
		h.insertLocked(k)
	} else {
		k.used = true
	}
	k.head, k.held = at, true
}

// release sets the chat's new durable head and lets it go.
func (h *heads) release(id chat.ID, at head) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.known[id]; k != nil {
		k.head, k.held = at, false
	}
}

// insertLocked adds k, in the place of another if there are max already. It
// looks at a bounded number of candidates: if all are held, the ring grows.
func (h *heads) insertLocked(k *knownHead) {
	h.known[k.id] = k
	if len(h.ring) >= h.max {
		for range 2*h.max + 1 {
			h.hand = (h.hand + 1) % len(h.ring)
			old := h.ring[h.hand]
			if old.held {
				continue
			}
			if old.used {
				old.used = false
				continue
			}
			delete(h.known, old.id)
			h.ring[h.hand] = k
			return
		}
	}
	h.ring = append(h.ring, k)
}
