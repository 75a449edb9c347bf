package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"tidings/chat"
	"tidings/storage"
)

// pullers read logs for sessions that have fallen behind or have just connected.
// A session is in the queue at most once, so that the queue is bounded by the
// sessions, and how much is read at once by the number of pullers.
type pullers struct {
	e *Engine

	mu     sync.Mutex
	work   sync.Cond
	queue  []*Session
	closed bool
}

// Turn sizes: how much one session gets before the next one has its turn.
const (
	pullEntries = 32
	pullBytes   = 256 << 10
	loadPage    = 500
)

func newPullers(e *Engine) *pullers {
	p := &pullers{e: e}
	p.work.L = &p.mu
	return p
}

func (p *pullers) add(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, s)
	p.work.Signal()
}

func (p *pullers) take() *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 {
		if p.closed {
			return nil
		}
		p.work.Wait()
	}
	if p.closed {
		return nil
	}
	s := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return s
}

func (p *pullers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.work.Broadcast()
}

// run serves sessions until the pullers are closed.
func (p *pullers) run() {
	w := &puller{e: p.e, live: live{d: &Delivery{}}, open: openLive{d: &Delivery{}}}
	for s := p.take(); s != nil; s = p.take() {
		err := w.serve(p.e.ctx, s)
		if err != nil && p.e.ctx.Err() == nil {
			p.e.log.Error("cannot read an inbox", "err", err, "user", uint64(s.user()), "device", uint64(s.device()))
			p.e.retryLater(s)
			continue
		}
		s.mu.Lock()
		s.queued = false
		s.wakeLocked()
		s.mu.Unlock()
	}
}

// pullRetry is how long a session waits after the store could not be read.
const pullRetry = 500 * time.Millisecond

// puller is one goroutine's worth of scratch.
type puller struct {
	e    *Engine
	live live
	open openLive
	buf  []byte
}

// serve gives a session one turn: first its heads if it has just connected, then
// what an earlier connection has left unacknowledged, then the log of one chat.
func (w *puller) serve(ctx context.Context, s *Session) error {
	s.mu.Lock()
	load, loaded, resend, pump := s.load, s.loaded, s.resendingLocked(), len(s.pump) > 0
	s.load, s.loaded = false, false
	s.mu.Unlock()
	if load {
		if err := w.load(ctx, s); err != nil {
			s.mu.Lock()
			s.load = true
			s.mu.Unlock()
			return err
		}
		loaded = w.e.progress.passed(s)
	}
	if loaded {
		if err := w.finishLoad(ctx, s); err != nil {
			s.mu.Lock()
			s.loaded = true
			s.mu.Unlock()
			return err
		}
	}
	if resend {
		for _, win := range [...]*window{&s.window, &s.queue} {
			if done, err := w.resend(ctx, s, win); err != nil || !done {
				return err
			}
		}
	}
	if pump {
		if err := w.sendRetained(ctx, s); err != nil {
			return err
		}
	}
	return w.pull(ctx, s)
}

// job is what a puller reads in one turn.
type job struct {
	p        *position
	from, to uint64
	limit    int
	want     *Want
	group    *group
	user     *account // of a direct chat or events: whose inbox it is
	peer     *account // of a direct chat
	senders  []sender // of the messages read
}

// sender is the names of who sent a message, as envelopes tell them.
type sender struct{ from, device string }

// pull reads and sends the next entries of one chat.
func (w *puller) pull(ctx context.Context, s *Session) error {
	p := w.next(s)
	if p == nil {
		return nil
	}
	if p.id.Kind() == chat.KindQueue {
		return w.pullQueue(ctx, s, p)
	}
	j := job{p: p}
	msgs, err := w.read(ctx, s, &j)
	if err != nil {
		s.mu.Lock()
		s.behind[p.class()].push(p)
		s.mu.Unlock()
		return err
	}
	s.mu.Lock()
	w.sendAll(s, &j, msgs)
	s.mu.Unlock()
	s.link.Flush()
	return nil
}

// next takes the chat whose turn it is out of the session's queues; the classes
// (events, direct chats, groups) take turns.
func (w *puller) next(s *Session) *position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.full || s.out >= s.limit || s.crammedLocked() {
		return nil
	}
	for range s.behind {
		class := s.turn
		s.turn = (s.turn + 1) % len(s.behind)
		if p := s.behind[class].pop(); p != nil {
			return p
		}
	}
	return nil
}

// read fetches the entries for a turn, with what decides how they look.
func (w *puller) read(ctx context.Context, s *Session, j *job) (msgs []chat.Message, err error) {
	if err := w.describe(ctx, s, j); err != nil {
		return nil, err
	}
	s.mu.Lock()
	group := ""
	if j.group != nil {
		group = j.group.Name
	}
	j.want = s.wantLocked(j.p.id, group)
	j.from, j.to = j.p.sent+1, j.p.want
	j.limit = max(1, min(pullEntries, s.limit-s.out))
	s.mu.Unlock()
	if j.want == nil || j.from > j.to {
		return nil, nil
	}
	return w.fetch(ctx, s, j, storage.Range{Chat: j.p.id, From: j.from, To: j.to, Limit: j.limit, Bytes: pullBytes})
}

// fetch reads a range with the names of its senders. Entries that the user may
// not see come as stubs, which are passed over.
func (w *puller) fetch(ctx context.Context, s *Session, j *job, r storage.Range) ([]chat.Message, error) {
	msgs, err := w.e.store.Read(ctx, r)
	if err != nil {
		return nil, err
	}
	if j.group != nil {
		member, err := w.e.memberRow(ctx, j.p.id, s.user())
		if err != nil {
			return nil, err
		}
		for i := range msgs {
			msgs[i].Stub = msgs[i].Stub || !member.Sees(msgs[i].Seq)
		}
	}
	j.senders, err = w.e.senders(ctx, msgs)
	return msgs, err
}

// describe looks up the names of a chat.
func (w *puller) describe(ctx context.Context, s *Session, j *job) error {
	id := j.p.id
	if g := id.Group(); g != 0 {
		gs, err := w.e.groups.withIDs(ctx, []chat.GroupID{g})
		if err != nil {
			return err
		}
		if j.group = gs[0]; j.group == nil {
			return fmt.Errorf("read group %d: %w", g, storage.ErrNotFound)
		}
		return nil
	}
	us, err := w.e.accounts.withIDs(ctx, []chat.UserID{s.user(), id.Peer(s.user())})
	if err != nil {
		return err
	}
	if j.user, j.peer = us[0], us[1]; j.user == nil || j.peer == nil && id.Kind() == chat.KindDirect {
		return fmt.Errorf("read users of %v: %w", id, storage.ErrNotFound)
	}
	return nil
}

// sendAll sends what was read, as far as there is room, and decides whether the
// chat has more.
func (w *puller) sendAll(s *Session, j *job, msgs []chat.Message) {
	p := j.p
	if s.ended {
		return
	}
	if j.want == nil { // no longer wanted: waits in the inbox
		p.behind = false
		s.forgetLocked(p)
		return
	}
	for i := range msgs {
		m := &msgs[i]
		if m.Seq > p.sent+1 {
			s.passLocked(p, m.Seq-1, false) // forgotten entries
		}
		mine := m.Device != 0 && m.Device == s.device()
		if mine || m.Stub {
			s.passLocked(p, m.Seq, mine && j.want.QoS > 0)
			continue
		}
		w.dress(j, m, j.senders[i])
		if !s.sendLocked(p, &w.live, j.want, m.Seq <= p.dupTo) {
			break
		}
	}
	if len(msgs) == 0 && j.from <= j.to && p.sent < j.to {
		s.passLocked(p, j.to, false)
	}
	if p.sent < p.want {
		s.behind[p.class()].push(p)
		return
	}
	p.behind = false
}

// forgetLocked drops the position of a chat that the session does not want any
// more, once its acknowledged part is saved.
func (s *Session) forgetLocked(p *position) {
	if p.out == 0 && !p.dirty() {
		delete(s.chats, p.id)
	} else {
		p.want = p.sent
	}
}

// dress fills the puller's live entry with the form in which the job's user sees
// m.
func (w *puller) dress(j *job, m *chat.Message, from sender) {
	l := &w.live
	l.msg, l.group, l.from, l.device = m, "", from.from, from.device
	switch {
	case j.group != nil:
		l.topic, l.reply, l.group = j.group.topic, j.group.topic, j.group.Name
	case m.Chat.Kind() == chat.KindEvents:
		l.topic = j.user.topic + "/events"
		l.reply = l.topic
	default:
		l.topic, l.reply = j.user.topic, j.peer.topic
	}
	w.buf = chat.AppendEnvelope(w.buf[:0], m, chat.View{Chat: l.reply, From: l.from, Device: l.device})
	l.payload = w.buf
	if cap(w.buf) > maxIdleBatchData {
		w.buf = nil
	}
}

// resend sends again, with DUP and the same tags, what an earlier connection has
// sent and the device has not acknowledged [MQTT-4.4.0-1]. done is false while
// some of it has no room.
func (w *puller) resend(ctx context.Context, s *Session, win *window) (done bool, err error) {
	for {
		s.mu.Lock()
		for win.again >= 0 && win.again < win.len() && win.at(win.again).done {
			win.again++
		}
		if s.ended || win.again < 0 || win.again >= win.len() {
			win.again = -1
			s.mu.Unlock()
			return true, nil
		}
		sl := *win.at(win.again)
		tag := win.tagAt(win.again)
		room := s.out < s.limit && !s.full
		s.mu.Unlock()
		if !room {
			return false, nil
		}
		if sl.p.id.Kind() == chat.KindQueue {
			sent, err := w.resendOpen(ctx, s, tag, sl)
			s.link.Flush()
			if err != nil || !sent {
				return false, err
			}
			continue
		}
		j := job{p: sl.p}
		if err := w.describe(ctx, s, &j); err != nil {
			return false, err
		}
		msgs, err := w.fetch(ctx, s, &j, storage.Range{Chat: sl.p.id, From: sl.seq, To: sl.seq, Limit: 1})
		if err != nil {
			return false, err
		}
		visible := len(msgs) == 1 && !msgs[0].Stub && !expired(&msgs[0])
		if visible {
			w.dress(&j, &msgs[0], j.senders[0])
		}
		if !w.again(s, tag, sl, visible) {
			s.link.Flush()
			return false, nil
		}
		s.link.Flush()
	}
}

// again sends one delivery of the window again, or passes over it if the device
// may not see it any more.
func (w *puller) again(s *Session, tag uint16, sl slot, visible bool) (sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	win := &s.window
	if s.ended || win.again >= win.len() || win.tagAt(win.again) != tag {
		return false
	}
	if !visible {
		at := win.at(win.again)
		at.done, at.mute = true, true
		win.again++
		s.popDoneLocked(win)
		return true
	}
	// Also if nothing selects the chat any more: what was begun is completed
	// [MQTT-3.10.4-3].
	d := w.live.d
	*d = Delivery{
		Topic: append(d.Topic[:0], w.live.topic...), ReplyTo: append(d.ReplyTo[:0], w.live.reply...),
		Payload: w.live.payload, QoS: 1, Tag: tag, Dup: true, Expiry: secondsLeft(w.live.msg), Ordinary: true,
	}
	if want := s.wantLocked(sl.p.id, w.live.group); want != nil {
		d.Filters = want.IDs
	}
	r, cut := s.deliverLocked(&w.live)
	switch r {
	case Delivered, TooLarge:
		at := win.at(win.again)
		at.mute = at.mute || cut
		win.again++
		if r == TooLarge {
			at.done, at.mute = true, true
			s.popDoneLocked(win)
			return true
		}
		s.out++
		return true
	case NoRoom, Closed:
		s.full = true
	}
	return false
}

// load reads the chats of the session's user and their heads, and puts those
// with waiting entries in line, most recent first.
func (w *puller) load(ctx context.Context, s *Session) error {
	var after chat.ID
	for {
		tails, err := w.e.store.Inbox(ctx, s.user(), s.device(), after, loadPage)
		if err != nil {
			return err
		}
		if len(tails) == 0 {
			break
		}
		after = tails[len(tails)-1].Chat
		slices.SortFunc(tails, func(a, b storage.Tail) int { return int(b.HeadTime - a.HeadTime) })
		if err := w.line(ctx, s, tails); err != nil {
			return err
		}
		if len(tails) < loadPage {
			break
		}
	}
	s.mu.Lock()
	queue := s.open != nil && s.open.durable
	s.mu.Unlock()
	if !queue {
		return nil
	}
	t, err := w.e.queueTail(ctx, s)
	if err != nil {
		return err
	}
	return w.line(ctx, s, []storage.Tail{t})
}

// line puts the chats of one page in line, groups behind joining their rooms.
func (w *puller) line(ctx context.Context, s *Session, tails []storage.Tail) error {
	names := make([]string, len(tails))
	for i := range tails {
		g := tails[i].Chat.Group()
		if g == 0 {
			continue
		}
		gs, err := w.e.groups.withIDs(ctx, []chat.GroupID{g})
		if err != nil {
			return err
		}
		if gs[0] != nil {
			names[i] = gs[0].Name
		}
	}
	if err := w.join(ctx, s, tails); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range tails {
		s.tailLocked(&tails[i], names[i])
	}
	return nil
}

// join lists the session in the rooms of those groups whose next entry its user is
// to get. A room is joined first and the tail read second: what was routed before
// is in the log by then, and a removal for which the router did not find the
// session in the room is in the member row.
//
// A row may know more than the head that comes with it, so its intervals decide
// and not its role: a removal or an addition behind the head is still to be
// routed, which ends or begins the session's stay.
func (w *puller) join(ctx context.Context, s *Session, tails []storage.Tail) error {
	var joined []*storage.Tail
	for i := range tails {
		if t := &tails[i]; seesNext(t) && w.e.rooms.join(t.Chat, s) {
			joined = append(joined, t)
		}
	}
	for len(joined) > 0 {
		if err := w.reread(ctx, s, joined); err != nil {
			return err
		}
		joined = slices.DeleteFunc(joined, seesNext)
		for _, t := range joined {
			w.e.rooms.leave(t.Chat, s)
		}
		if err := w.reread(ctx, s, joined); err != nil {
			return err
		}
		joined = slices.DeleteFunc(joined, func(t *storage.Tail) bool { // may have been added again meanwhile
			return !seesNext(t) || !w.e.rooms.join(t.Chat, s)
		})
	}
	return nil
}

// seesNext tells whether the member of a group is to get the entry behind the
// head.
func seesNext(t *storage.Tail) bool { return t.Member.Sees(t.Head + 1) }

// reread reads tails again, with one call where they are of one page.
func (w *puller) reread(ctx context.Context, s *Session, tails []*storage.Tail) error {
	if len(tails) == 0 {
		return nil
	}
	first := tails[0].Chat
	for _, t := range tails[1:] {
		if t.Chat.Less(first) {
			first = t.Chat
		}
	}
	page, err := w.e.store.Inbox(ctx, s.user(), s.device(), before(first), loadPage)
	if err != nil {
		return err
	}
	found := make(map[chat.ID]*storage.Tail, len(page))
	for i := range page {
		found[page[i].Chat] = &page[i]
	}
	for _, t := range tails {
		again := found[t.Chat]
		if again == nil { // beyond the page
			one, err := w.e.tail(ctx, s.user(), s.device(), t.Chat)
			if err != nil {
				return err
			}
			again = &one
		}
		head := max(t.Head, again.Head)
		*t = *again
		t.Head = head
	}
	return nil
}

// tailLocked takes note of one chat of the inbox.
func (s *Session) tailLocked(t *storage.Tail, group string) {
	head := max(t.Head, s.wanted[t.Chat])
	delete(s.wanted, t.Chat)
	if s.ended || s.id.Guest || t.Chat.Kind() != chat.KindQueue && s.wantLocked(t.Chat, group) == nil {
		return
	}
	p := s.chats[t.Chat]
	if p == nil {
		cursor := min(t.Cursor, t.Head) // above the head only in a restored store
		if cursor >= head {
			return
		}
		p = s.positionLocked(t.Chat, cursor)
	}
	if s.aftercrash && p.dupTo == 0 {
		p.dupTo = t.Head
	}
	p.want = max(p.want, head)
	if p.want > p.sent && !p.behind {
		p.behind = true
		s.behind[p.class()].push(p)
	}
}

// tail returns where the session's device is in a chat or in its queue.
func (w *puller) tail(ctx context.Context, s *Session, id chat.ID) (storage.Tail, error) {
	if id.Kind() == chat.KindQueue {
		return w.e.queueTail(ctx, s)
	}
	return w.e.tail(ctx, s.user(), s.device(), id)
}

// finishLoad looks up the chats that were noted while the heads were being read
// and were not among them, until there are none, and lets live entries through.
func (w *puller) finishLoad(ctx context.Context, s *Session) error {
	for {
		s.mu.Lock()
		var missing []chat.ID
		for id := range s.wanted {
			missing = append(missing, id)
		}
		if s.load || s.ended { // subscribed again meanwhile; or to be kept as it is
			s.mu.Unlock()
			return nil
		}
		if len(missing) == 0 {
			s.loading = false
			s.wanted = nil
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		for _, id := range missing {
			t, err := w.tail(ctx, s, id)
			if err != nil {
				return err
			}
			// What is stored behind the last entry offered will be offered yet: if it
			// were read now, it could come twice.
			s.mu.Lock()
			t.Head = min(t.Head, s.wanted[id])
			s.mu.Unlock()
			if err := w.line(ctx, s, []storage.Tail{t}); err != nil {
				return err
			}
		}
	}
}
