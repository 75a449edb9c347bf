package pebble

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// appender is what one Append works with, kept from call to call so that the
// usual batch allocates next to nothing.
type appender struct {
	s       *Store
	batch   *pebble.Batch
	entries []storage.Entry

	chats   []chatState
	byChat  map[chat.ID]int32
	seed    maphash.Seed
	byCID   map[uint64]int32 // hash of chat, sender, cid → last stored entry with it, plus one
	chain   []int32          // per entry: the one before it with the same hash, plus one
	members map[memberOf]*chat.Member
	key     []byte
	record  []byte
}

// chatState is one chat of the batch.
type chatState struct {
	id      chat.ID
	durable head // before this batch
	head    head // with what of the batch is stored so far
	moved   bool // After did not match: nothing is stored
}

type memberOf struct {
	chat chat.ID
	user chat.UserID
}

func newAppender() *appender {
	return &appender{
		byChat:  make(map[chat.ID]int32),
		byCID:   make(map[uint64]int32),
		members: make(map[memberOf]*chat.Member),
		seed:    maphash.MakeSeed(),
	}
}

// Append implements storage.Log. It decides every entry against the heads and
// what is stored, encodes the rows into one batch and commits that with one sync.
func (s *Store) Append(ctx context.Context, b *storage.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a := s.scratch.Get().(*appender)
	a.s, a.batch, a.entries = s, s.db.NewBatch(), b.Entries
	defer a.done()

	for i := range b.Entries {
		if err := a.entry(i); err != nil {
			_ = a.batch.Close() // nothing was written
			return fmt.Errorf("append: %w", err)
		}
	}
	for i := range b.Advances {
		a.key = appendAdvance(a.batch, a.key, &b.Advances[i])
	}
	need := int64(moving)
	for i := range b.Retained {
		if len(b.Retained[i].Body) > 0 {
			need = adding
		}
		if err := a.retain(&b.Retained[i]); err != nil {
			_ = a.batch.Close() // as above
			return fmt.Errorf("append: %w", err)
		}
	}
	for i := range a.chats {
		if c := &a.chats[i]; c.head != c.durable {
			if c.id.Kind() != chat.KindPackets { // which only let what is stored be delivered
				need = adding
			}
			s.heads.hold(c.id, c.durable)
		}
	}
	err := s.apply(ctx, a.batch, need, pebble.Sync)
	if err != nil && s.fence.err() != nil {
		// The heads stay held where they were: nobody reads what may not be on disk.
		return fmt.Errorf("append: %w", err)
	}
	for i := range a.chats {
		c := &a.chats[i]
		switch {
		case c.head == c.durable:
		case err == nil:
			s.heads.release(c.id, c.head)
		default:
			s.heads.release(c.id, c.durable)
		}
	}
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return nil
}

// done returns the scratch. What a burst made large goes to the collector.
func (a *appender) done() {
	const keep = 4096
	s, large := a.s, len(a.entries) > keep
	clear(a.byChat)
	clear(a.byCID)
	clear(a.members)
	a.s, a.batch, a.entries = nil, nil, nil
	a.chats, a.chain = a.chats[:0], a.chain[:0]
	if !large {
		s.scratch.Put(a)
	}
}

// entry decides one entry and adds its rows to the batch.
func (a *appender) entry(i int) error {
	e := &a.entries[i]
	a.chain = append(a.chain, 0)
	if e.Probe {
		return a.probe(i)
	}
	c, err := a.chat(e)
	if err != nil {
		return err
	}
	if c.moved {
		e.Result = storage.Result{Outcome: storage.Moved, Seq: c.durable.seq}
		return nil
	}
	if len(e.Message.CID) > 0 {
		hash, done, err := a.duplicate(c.id, c.durable.seq > 0, i)
		if done || err != nil {
			return err
		}
		a.chain[i] = a.byCID[hash]
		a.byCID[hash] = int32(i + 1)
	}
	c.head = head{seq: c.head.seq + 1, time: e.Message.Time}
	e.Message.Seq = c.head.seq
	e.Result = storage.Result{Outcome: storage.Stored, Seq: c.head.seq, ID: e.Message.ID, Time: e.Message.Time}
	return a.store(e)
}

// chat returns the state of the entry's chat, at its first entry read and checked
// against After.
func (a *appender) chat(e *storage.Entry) (*chatState, error) {
	id := e.Message.Chat
	if n, ok := a.byChat[id]; ok {
		return &a.chats[n], nil
	}
	at, ok := a.s.heads.get(id)
	if !ok {
		var err error
		if at, err = a.s.readHead(id); err != nil {
			return nil, err
		}
	}
	a.byChat[id] = int32(len(a.chats))
	a.chats = append(a.chats, chatState{id: id, durable: at, head: at, moved: at.seq != e.After})
	return &a.chats[len(a.chats)-1], nil
}

// probe decides an entry that is not to be stored.
func (a *appender) probe(i int) error {
	e := &a.entries[i]
	e.Result = storage.Result{Outcome: storage.Absent}
	if len(e.Message.CID) == 0 {
		return nil
	}
	_, _, err := a.duplicate(e.Message.Chat, true, i)
	return err
}

// duplicate looks for an earlier message with the entry's cid, in the batch and,
// where the chat has any, in the store, and fills in the result if there is one.
// hash is what byCID knows the cid by.
func (a *appender) duplicate(id chat.ID, stored bool, i int) (hash uint64, found bool, err error) {
	e := &a.entries[i]
	hash = a.hash(&e.Message)
	for n := a.byCID[hash]; n > 0; n = a.chain[n-1] {
		if first := &a.entries[n-1].Message; sameCID(first, &e.Message) {
			e.Result = repeated(first, &e.Message)
			return hash, true, nil
		}
	}
	if stored { // else there is nothing that it could repeat
		a.key = cidKey(a.key[:0], id, e.Message.From, e.Message.CID)
		first, ok, err := a.s.messageByCID(a.key, id)
		if err != nil {
			return hash, false, err
		}
		if ok {
			e.Result = repeated(&first, &e.Message)
			return hash, true, nil
		}
	}
	return hash, false, nil
}

func (a *appender) hash(m *chat.Message) uint64 {
	var b [chat.IDSize + 8]byte
	be(m.Chat.Append(b[:0]), uint64(m.From))
	return maphash.Bytes(a.seed, b[:]) ^ maphash.Bytes(a.seed, m.CID)
}

func sameCID(a, b *chat.Message) bool {
	return a.Chat == b.Chat && a.From == b.From && bytes.Equal(a.CID, b.CID)
}

// repeated is the result of an entry whose cid the message first has.
func repeated(first, again *chat.Message) storage.Result {
	r := storage.Result{Outcome: storage.Duplicate, Seq: first.Seq, ID: first.ID, Time: first.Time}
	if first.ContentDigest() != again.ContentDigest() {
		r.Outcome = storage.Mismatch
	}
	return r
}

// store adds the rows of a stored entry to the batch.
func (a *appender) store(e *storage.Entry) error {
	m := &e.Message
	op := a.batch.SetDeferred(messageLen, messageSize(m))
	messageKey(op.Key[:0], m.Chat, m.Seq)
	appendMessage(op.Value[:0], m)
	if err := op.Finish(); err != nil {
		return err
	}
	if len(m.CID) > 0 {
		op := a.batch.SetDeferred(1+chat.IDSize+8+len(m.CID), 8)
		cidKey(op.Key[:0], m.Chat, m.From, m.CID)
		be(op.Value[:0], m.Seq)
		if err := op.Finish(); err != nil {
			return err
		}
	}
	if m.Expires != 0 {
		a.key = expiresKey(a.key[:0], m.Expires, m.Chat, m.Seq)
		if err := a.batch.Set(a.key, nil, nil); err != nil {
			return err
		}
	}
	if m.Seq == 1 && m.Chat.Kind() != chat.KindGroup {
		for _, u := range m.Chat.Users() {
			a.key = userChatKey(a.key[:0], tagInbox, u, m.Chat)
			if err := a.batch.Set(a.key, nil, nil); err != nil {
				return err
			}
		}
	}
	for _, change := range e.Members {
		if err := a.member(m, change); err != nil {
			return err
		}
	}
	return nil
}

// member applies one change to a member row, on top of earlier ones in the batch.
func (a *appender) member(m *chat.Message, change storage.MemberChange) error {
	of := memberOf{m.Chat, change.User}
	row := a.members[of]
	if row == nil {
		row = &chat.Member{User: change.User}
		key := memberKey(nil, m.Chat, change.User)
		if _, err := a.s.get(key, func(value []byte) error { return decodeMember(key, value, row) }); err != nil {
			return err
		}
		a.members[of] = row
	}
	if !changeMember(row, change, m.Seq) {
		return nil
	}
	a.record = appendMember(a.record[:0], row)
	a.key = memberKey(a.key[:0], m.Chat, change.User)
	if err := a.batch.Set(a.key, a.record, nil); err != nil {
		return err
	}
	a.key = userChatKey(a.key[:0], tagInbox, change.User, m.Chat)
	return a.batch.Set(a.key, a.record, nil)
}

// changeMember changes row as the entry at seq says and reports whether it did.
func changeMember(row *chat.Member, change storage.MemberChange, seq uint64) bool {
	switch {
	case change.Role == chat.RoleNone:
		if row.Role == chat.RoleNone {
			return false
		}
		if n := len(row.Intervals); n > 0 && row.Intervals[n-1].To == 0 {
			row.Intervals[n-1].To = seq
		}
	case row.Role != chat.RoleNone:
	case change.History:
		row.Intervals = []chat.Interval{{From: 1}}
	default:
		row.Intervals = append(row.Intervals, chat.Interval{From: seq})
	}
	row.Role = change.Role
	return true
}
