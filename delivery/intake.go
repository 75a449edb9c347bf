package delivery

import (
	"sync"

	"tidings/chat"
	"tidings/storage"
)

// kind says what an item of a batch is.
type kind uint8

const (
	kindAnswer   kind = iota // decided before: only its answer has to leave in its place
	kindMessage              // a draft to be appended
	kindEntry                // an entry of the engine's own making (membership, events)
	kindRead                 // a read watermark
	kindTyping               // live only
	kindPresence             // live only
	kindOpen                 // a publish on an open topic
	kindReceived             // PUBREC of a delivery
	kindReleased             // PUBREL of a publish
)

// needsChat tells whether the committer has to find the chat that an item is for.
func (k kind) needsChat() bool {
	return k == kindMessage || k == kindEntry || k == kindRead || k == kindTyping
}

// decided tells whether the committer has something to do for an item.
func (k kind) decided() bool {
	return k.needsChat() || k == kindOpen || k == kindReceived || k == kindReleased
}

// span is a part of a batch's data, relative to the item's base.
type span struct{ off, n uint32 }

// item is one publish on its way from a connection to its answer. It is owned by
// whoever owns its batch.
type item struct {
	s    *Session // whose publish it is; nil for posts
	post *post    // who waits for the outcome of a post; nil for publishes

	refusal *Refusal // why it is not done; nil while it may be
	doubt   *Refusal // why it is not to be done, unless it was done before
	ledger  *ledgerChat

	typ                                  string // message type
	base                                 uint32 // where the item's data begins in the batch
	topic, name, body, cid, re, mentions span

	msg  *chat.Message // once appended by this batch
	seq  uint64        // read: the mark; message: its place, once known
	time int64         // Unix milliseconds, once known
	id   chat.MessageID

	ttl   uint32 // seconds, zero: none
	pid   uint16
	kind  kind
	qos   byte
	group bool // the topic is a group's
	dup   bool
	on    bool // typing: begins; received, released: it is to be made durable
	held  bool // released: there was such a publish
	state presenceState

	open *openItem // of kindOpen

	dropped bool // no answer may be given: the connection is being closed
	changes []storage.MemberChange
}

// from returns the user on whose behalf the item is.
func (it *item) from() chat.UserID {
	if it.s != nil {
		return it.s.id.Actor.User
	}
	return it.post.from.User
}

// itemSize is what an item counts in a batch's size besides its data.
const itemSize = 256

// batch is what one commit makes durable. It circulates: turns fill it, the
// committer and then the router own it, and the router gives it back.
type batch struct {
	items []item
	data  []byte

	from, to int // the part of the items that is under way: see committer.commit

	number  uint64        // see progress
	entries storage.Batch // built by the committer
	index   []int32       // item of each entry
	targets []*target     // for each entry: the queue that it is for; nil: it is for a chat
}

func (b *batch) bytes(it *item, s span) []byte {
	if s.n == 0 {
		return nil
	}
	off := it.base + s.off
	return b.data[off : off+s.n : off+s.n]
}

// part returns the items that are under way.
func (b *batch) part() []item { return b.items[b.from:b.to] }

func (b *batch) size() int { return len(b.items)*itemSize + len(b.data) }

// reset empties the batch for its next use and lets go of memory that a burst
// has made large.
func (b *batch) reset() {
	clear(b.items)
	clear(b.entries.Entries)
	clear(b.entries.Retained)
	clear(b.targets)
	b.items, b.data = b.items[:0], b.data[:0]
	b.entries.Entries, b.entries.Advances = b.entries.Entries[:0], b.entries.Advances[:0]
	b.index, b.targets, b.number, b.from, b.to = b.index[:0], b.targets[:0], 0, 0, 0
	b.entries.Retained = b.entries.Retained[:0]
	if cap(b.data) > maxIdleBatchData {
		b.data = nil
	}
	if cap(b.items) > maxIdleBatchItems {
		b.items, b.index, b.targets, b.entries = nil, nil, nil, storage.Batch{}
	}
}

const (
	maxIdleBatchData  = 512 << 10
	maxIdleBatchItems = 2048
	maxPendingSize    = 2 << 20 // beyond it Turn.Commit waits
	batchesInFlight   = 4
)

// intake is where turns leave what they have read and the committer takes it.
// At most batchesInFlight batches exist; together with maxPendingSize this bounds
// what the engine holds of accepted publishes.
type intake struct {
	mu      sync.Mutex
	room    sync.Cond // pending has shrunk
	work    sync.Cond // pending is not empty, or closed
	pending *batch
	nudged  bool // take returns even if nothing is pending
	closed  bool

	spare chan *batch
}

func newIntake() *intake {
	in := &intake{spare: make(chan *batch, batchesInFlight), pending: new(batch)}
	in.room.L, in.work.L = &in.mu, &in.mu
	for range batchesInFlight - 1 {
		in.spare <- new(batch)
	}
	return in
}

// add hands over items and their data. It waits while the engine is full, and
// reports false once the intake is closed, with nothing handed over.
func (in *intake) add(items []item, data []byte) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.pending.size() > maxPendingSize && !in.closed {
		in.room.Wait()
	}
	if in.closed {
		return false
	}
	b := in.pending
	base := uint32(len(b.data))
	b.data = append(b.data, data...)
	n := len(b.items)
	b.items = append(b.items, items...)
	for i := range b.items[n:] {
		b.items[n+i].base += base
	}
	if n == 0 {
		in.work.Signal()
	}
	return true
}

// take waits for work and returns all of it, which is nothing after a nudge; nil
// once the intake is closed and empty.
func (in *intake) take() *batch {
	next := <-in.spare
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.pending.items) == 0 && !in.nudged {
		if in.closed {
			in.spare <- next
			return nil
		}
		in.work.Wait()
	}
	b := in.pending
	in.pending, in.nudged = next, false
	in.room.Broadcast()
	return b
}

// nudge makes take return.
func (in *intake) nudge() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.nudged = true
	in.work.Signal()
}

// giveBack returns a batch that nobody uses any more.
func (in *intake) giveBack(b *batch) {
	b.reset()
	in.spare <- b
}

// close lets the committer finish what is there and refuses what comes later.
func (in *intake) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.work.Broadcast()
	in.room.Broadcast()
}
