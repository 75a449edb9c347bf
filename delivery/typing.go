package delivery

import (
	"time"

	"tidings/chat"
)

const (
	typingEvery = 3 * time.Second // one notice per chat and user in that time
	maxTypers   = 10_000
)

// typers remembers who was told to be typing, to keep notices rare. It belongs to
// the router.
type typers struct {
	last map[markKey]int64 // Unix milliseconds
}

func newTypers() *typers { return &typers{last: make(map[markKey]int64)} }

// allow tells whether a notice may go out. That somebody has stopped may always,
// and lets the next beginning through.
func (t *typers) allow(k markKey, on bool, now int64) bool {
	last, known := t.last[k]
	if !on {
		delete(t.last, k)
		return known
	}
	if known && now-last < typingEvery.Milliseconds() {
		return false
	}
	for old := range t.last {
		if len(t.last) < maxTypers {
			break
		}
		delete(t.last, old)
	}
	t.last[k] = now
	return true
}

// typing tells the others in a chat that somebody is typing there.
func (r *router) typing(it *item) {
	from := it.from()
	if !r.e.typers.allow(markKey{it.ledger.id, from}, it.on, it.time) {
		return
	}
	payload := chat.AppendTyping(nil, it.s.id.Actor.UserName, it.on)
	c := it.ledger
	if c.group == nil {
		for _, u := range c.users {
			if u != nil && u.ID != from {
				r.e.whisper(u.ID, func(sc *scope) *Want { return sc.typing }, u.topic+"/typing", payload)
			}
		}
		return
	}
	topic := c.group.topic + "/typing"
	for _, s := range r.room(c.id, it.seq).sessions() {
		if s.user() != from {
			s.whisper(func(sc *scope) *Want { return sc.groupTyping.of(c.group.Name) }, topic, payload, false)
			r.touch(s)
		}
	}
}
