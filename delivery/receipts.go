package delivery

import (
	"context"
	"sync"

	"tidings/chat"
	"tidings/storage"
)

// receipts tells authors how far their messages have come. Watermarks are told
// after they are durable. In direct chats each mark is told; in groups of up to
// countedMembers the author of a recent message learns how many have it, and the
// marks of single members are told on request. Receipts are live only: who was
// away asks for the watermarks.
type receipts struct {
	e *Engine

	mu      sync.Mutex
	told    map[markKey]mark   // what is known already about a member; bounded by maxTold
	counted map[markKey]counts // what an author knows about his latest message; likewise
}

type markKey struct {
	chat chat.ID
	user chat.UserID
}

type mark struct{ delivered, read uint64 }

type counts struct {
	seq             uint64
	delivered, read int
}

const (
	maxTold        = 50_000
	countedMembers = 256
	countedEntries = 64 // how far back authors are looked for
)

func newReceipts(e *Engine) *receipts {
	return &receipts{e: e, told: make(map[markKey]mark), counted: make(map[markKey]counts)}
}

// raise notes a mark and returns it as it is now, and whether that is news.
func (r *receipts) raise(k markKey, delivered, read uint64) (mark, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.told[k]
	now := mark{max(old.delivered, delivered, read), max(old.read, read)}
	if known && now == old {
		return now, false
	}
	remember(r.told, k, now)
	return now, true
}

// remember sets an entry of a table that maxTold bounds.
func remember[V any](m map[markKey]V, k markKey, v V) {
	for old := range m {
		if len(m) < maxTold {
			break
		}
		delete(m, old)
	}
	m[k] = v
}

// durable is raise for marks that are stored. What was told before the table knew
// of the member, maybe by a process that has crashed, is in the store: nothing
// less may be told.
func (r *receipts) durable(ctx context.Context, k markKey, delivered, read uint64) (mark, bool, error) {
	if !r.known(k) {
		ws, err := r.e.store.Watermarks(ctx, k.chat, []chat.UserID{k.user})
		if err != nil {
			return mark{}, false, err
		}
		delivered, read = max(delivered, ws[0].Delivered), max(read, ws[0].Read)
	}
	m, news := r.raise(k, delivered, read)
	return m, news, nil
}

// mark tells the other user of a direct chat, and a reader's other devices, how
// far a user is. The marks given are durable. It may read the store.
func (r *receipts) mark(ctx context.Context, id chat.ID, user chat.UserID, delivered, read uint64) {
	if id.Kind() != chat.KindDirect {
		return
	}
	m, news, err := r.durable(ctx, markKey{id, user}, delivered, read)
	if err != nil {
		r.e.log.Error("cannot read watermarks for a receipt", "err", err)
		return
	}
	if !news {
		return
	}
	us, err := r.e.accounts.withIDs(ctx, []chat.UserID{user, id.Peer(user)})
	if err != nil || us[0] == nil || us[1] == nil {
		return
	}
	me, peer := us[0], us[1]
	if read > 0 {
		r.send(me, chat.AppendReceipt(nil, peer.topic, me.Name, m.delivered, m.read))
	}
	if me == peer || me.hasBlocked(peer.ID) || peer.hasBlocked(me.ID) {
		return
	}
	if me.NoReadReceipts || peer.NoReadReceipts {
		m.read = 0
	}
	r.send(peer, chat.AppendReceipt(nil, me.topic, me.Name, m.delivered, m.read))
}

func (r *receipts) known(k markKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.told[k]
	return ok
}

// send gives a receipt to the devices of a user that want receipts.
func (r *receipts) send(to *account, payload []byte) {
	r.e.whisper(to.ID, func(sc *scope) *Want { return sc.receipts }, to.topic+"/receipts", payload)
}

// read tells that a member has read up to seq, which is durable. In a group his
// other devices are told, and the authors how many have.
func (r *receipts) read(ctx context.Context, id chat.ID, user chat.UserID, seq uint64) {
	g := id.Group()
	if g == 0 {
		r.mark(ctx, id, user, seq, seq)
		return
	}
	m, news, err := r.durable(ctx, markKey{id, user}, seq, seq)
	if err != nil {
		r.e.log.Error("cannot read watermarks for a receipt", "err", err)
		return
	}
	us, err := r.e.accounts.withIDs(ctx, []chat.UserID{user})
	gs, gerr := r.e.groups.withIDs(ctx, []chat.GroupID{g})
	if !news || err != nil || gerr != nil || us[0] == nil || gs[0] == nil {
		return
	}
	r.send(us[0], chat.AppendReceipt(nil, gs[0].topic, us[0].Name, m.delivered, m.read))
	r.e.flusher.countLater(id)
}

// count tells the authors of a group's latest messages how many members have
// them.
func (r *receipts) count(ctx context.Context, id chat.ID) {
	authors, err := r.authors(ctx, id)
	if err != nil || len(authors) == 0 {
		return
	}
	marks, err := r.e.groupMarks(ctx, id)
	if err != nil || len(marks) == 0 || len(marks) > countedMembers {
		return
	}
	gs, err := r.e.groups.withIDs(ctx, []chat.GroupID{id.Group()})
	if err != nil || gs[0] == nil {
		return
	}
	for author, seq := range authors {
		c := counts{seq: seq}
		for _, w := range marks {
			if w.User != author && w.Delivered >= seq {
				c.delivered++
			}
			if w.User != author && w.Read >= seq {
				c.read++
			}
		}
		us, err := r.e.accounts.withIDs(ctx, []chat.UserID{author})
		if err == nil && us[0] != nil && r.newCount(markKey{id, author}, c) {
			r.send(us[0], chat.AppendReceiptCounts(nil, gs[0].topic, c.seq, c.delivered, c.read))
		}
	}
}

// newCount notes a count and tells whether it is news to the author.
func (r *receipts) newCount(k markKey, c counts) bool {
	if c.delivered+c.read == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counted[k] == c {
		return false
	}
	remember(r.counted, k, c)
	return true
}

// authors returns the latest entry of each author with a live session among the
// chat's latest entries.
func (r *receipts) authors(ctx context.Context, id chat.ID) (map[chat.UserID]uint64, error) {
	msgs, err := r.e.store.Read(ctx, storage.Range{Chat: id, Limit: countedEntries, Reverse: true})
	if err != nil {
		return nil, err
	}
	out := make(map[chat.UserID]uint64)
	for i := range msgs {
		m := &msgs[i]
		if _, ok := out[m.From]; !ok && m.From != 0 && !chat.IsSystem(m.Type) && len(r.e.directory.of(m.From)) > 0 {
			out[m.From] = m.Seq
		}
	}
	return out, nil
}

// groupMarks returns the watermarks of a group's present members.
func (e *Engine) groupMarks(ctx context.Context, id chat.ID) ([]chat.Watermark, error) {
	rows, _, err := e.store.Members(ctx, id)
	if err != nil {
		return nil, err
	}
	var users []chat.UserID
	for _, m := range rows {
		if m.Role != chat.RoleNone {
			users = append(users, m.User)
		}
	}
	return e.store.Watermarks(ctx, id, users)
}

// whisper gives a live-only publication to the devices of a user whose scope
// wants it. What has no room is dropped and counted.
func (e *Engine) whisper(to chat.UserID, want func(*scope) *Want, topic string, payload []byte) {
	for _, s := range e.directory.of(to) {
		s.whisper(want, topic, payload, false)
		s.link.Flush()
	}
}

// whisper gives a live-only publication to the session, if its scope wants it.
func (s *Session) whisper(want func(*scope) *Want, topic string, payload []byte, retain bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !s.started || s.scope == nil {
		return
	}
	w := want(s.scope)
	if w == nil {
		return
	}
	d := &Delivery{Topic: []byte(topic), Payload: payload, Filters: w.IDs, Retain: retain}
	if s.link.Deliver(d) != Delivered {
		s.e.stats.LiveDrops.Add(1)
	}
}
