package delivery

import (
	"time"

	"tidings/chat"
)

// live is one committed entry on its way to live sessions, in the form that its
// receivers share. It belongs to the router.
type live struct {
	msg     *chat.Message
	origin  *Session // whose publish it was, if it is live
	topic   string   // topic name of the publication
	reply   string   // the chat as the receiver sees it
	from    string   // names in the envelope
	device  string
	group   string // name of the group, "" for other chats
	payload []byte // the envelope

	d *Delivery // scratch
}

// offer hands a new entry to the session, or notes that the log has to be read.
func (s *Session) offer(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.scope == nil || !s.inbox && !s.id.Guest {
		return
	}
	w := s.wantLocked(l.msg.Chat, l.group)
	if w == nil {
		return
	}
	p := s.noteLocked(l.msg.Chat, l.msg.Seq)
	switch {
	case p == nil:
	case l.origin == s || l.msg.Device != 0 && l.msg.Device == s.device():
		s.passLocked(p, l.msg.Seq, w.QoS > 0)
	case !s.sendLocked(p, l, w, false):
		s.fallBehindLocked(p)
	}
}

// noteLocked notes a new entry of a chat or queue. It returns the position there if
// the entry is the next to be sent; nil if it is known, or the log will be read for it.
func (s *Session) noteLocked(id chat.ID, seq uint64) *position {
	if s.loading && !s.id.Guest { // to whom what is live is all there is
		if s.wanted == nil {
			s.wanted = make(map[chat.ID]uint64)
		}
		s.wanted[id] = max(s.wanted[id], seq)
		return nil
	}
	p := s.positionLocked(id, seq-1)
	if seq <= p.want {
		return nil
	}
	p.want = seq
	switch {
	case p.behind:
		return nil
	case seq != p.sent+1:
		s.fallBehindLocked(p)
		return nil
	}
	return p
}

// lookAgain has the heads read again: there is something in the inbox that no new
// entry tells of, since the user has joined a group with its history.
func (s *Session) lookAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.scope == nil || !s.inbox {
		return
	}
	s.loading, s.load = true, true
	s.wakeLocked()
}

// wantLocked returns what the session wants of a chat, nil for nothing.
func (s *Session) wantLocked(id chat.ID, group string) *Want {
	switch id.Kind() {
	case chat.KindDirect:
		return s.scope.direct
	case chat.KindGroup:
		return s.scope.groups.of(group)
	default:
		return s.scope.events
	}
}

// fallBehindLocked leaves the rest of a chat to a puller.
func (s *Session) fallBehindLocked(p *position) {
	if s.id.Guest && p.memory == nil { // live only: what does not fit is gone
		p.sent, p.acked, p.saved = p.want, p.want, p.want
		s.e.stats.GuestDrops.Add(1)
		return
	}
	if !p.behind {
		p.behind = true
		s.behind[p.class()].push(p)
	}
	s.wakeLocked()
}

// wakeLocked asks for a puller if one could do something worth a read: what has
// fallen behind is read when half of the window is free.
func (s *Session) wakeLocked() { s.wakeUpToLocked(s.limit / 2) }

// wakeSoonLocked has the session look again at the next flush at the latest, so that
// a device which keeps more than half of its window open is fed, too.
func (s *Session) wakeSoonLocked() {
	if s.id.Guest { // whom the flusher does not know
		s.wakeUpToLocked(s.limit - 1)
		return
	}
	s.wakeLocked()
	if !s.queued && s.anyBehindLocked() {
		s.dirtyLocked()
	}
}

// wakeUpToLocked asks for a puller unless more than out deliveries are outstanding.
func (s *Session) wakeUpToLocked(out int) {
	if s.queued || s.ended || !s.started || s.full {
		return
	}
	ready := s.load || s.loaded || s.resendingLocked() || s.pumpLocked() > 0 || s.anyBehindLocked()
	if !ready || !s.load && !s.loaded && (s.out > out || s.crammedLocked()) {
		return
	}
	s.queued = true
	s.e.pullers.add(s)
}

func (s *Session) anyBehindLocked() bool {
	for i := range s.behind {
		if s.behind[i].head != nil {
			return true
		}
	}
	return false
}

// sendLocked gives one entry to the link. It returns false if there is no room
// for it now.
func (s *Session) sendLocked(p *position, l *live, w *Want, dup bool) bool {
	d := l.d
	*d = Delivery{Topic: append(d.Topic[:0], l.topic...), ReplyTo: append(d.ReplyTo[:0], l.reply...), Payload: l.payload, QoS: w.QoS, Filters: w.IDs, Dup: dup && w.QoS > 0, Ordinary: true}
	if expired(l.msg) {
		s.passLocked(p, l.msg.Seq, false)
		return true
	}
	d.Expiry = secondsLeft(l.msg)
	if w.QoS == 0 {
		return s.sendQoS0Locked(p, l)
	}
	if s.out >= s.limit || !s.window.takes(l.msg.Seq) || s.resendingLocked() {
		return false
	}
	d.Tag = s.window.nextTag(l.msg.Seq)
	r, cut := s.deliverLocked(l)
	switch r {
	case Delivered:
		s.window.push(slot{p: p, seq: l.msg.Seq, mute: cut})
		s.out++
		p.out++
		p.sent = l.msg.Seq
		return true
	case TooLarge:
		s.e.stats.TooLarge.Add(1)
		s.passLocked(p, l.msg.Seq, false)
		return true
	case NoRoom, Closed: // for good, if closed
		s.full = true
	}
	return false
}

// expired tells whether a message's ttl has ended.
func expired(m *chat.Message) bool { return m.Expires != 0 && m.Expires <= time.Now().UnixMilli() }

// secondsLeft returns how long a message that has not expired may still be
// delivered, in seconds rounded up; zero: for ever.
func secondsLeft(m *chat.Message) uint32 {
	if m.Expires == 0 {
		return 0
	}
	return uint32(max(1, (m.Expires-time.Now().UnixMilli()+999)/1000))
}

// maxWindow bounds the window with deliveries of earlier connections included, and
// those that are acknowledged behind one that is not, so that tags stay far from
// being used up.
const maxWindow = 8192

// crammedLocked tells whether the window takes nothing before its first delivery
// is acknowledged.
func (s *Session) crammedLocked() bool {
	return !s.resendingLocked() && (s.window.len() >= maxWindow || s.queue.len() > 0 && !s.queue.takes(s.queue.at(s.queue.len()-1).seq+pullEntries))
}

// resendingLocked tells whether deliveries of an earlier connection have not all
// been sent again.
func (s *Session) resendingLocked() bool { return s.window.again >= 0 || s.queue.again >= 0 }

// windowLocked returns the window that holds the deliveries of a position.
func (s *Session) windowLocked(p *position) *window {
	if p.id.Kind() == chat.KindQueue && p.memory == nil {
		return &s.queue
	}
	return &s.window
}

// deliverLocked gives the delivery to the link, without its body if the receiver
// does not take packets that large.
func (s *Session) deliverLocked(l *live) (r DeliverResult, cut bool) {
	if r = s.link.Deliver(l.d); r != TooLarge {
		return r, false
	}
	v := chat.View{Chat: l.reply, From: l.from, Device: l.device, Cut: true}
	l.d.Payload = chat.AppendEnvelope(nil, l.msg, v)
	s.e.stats.Cut.Add(1)
	return s.link.Deliver(l.d), true
}

// sendQoS0Locked sends an entry that will not be acknowledged: the cursor moves
// when the bytes are written, and nothing counts as delivered.
func (s *Session) sendQoS0Locked(p *position, l *live) bool {
	switch r, _ := s.deliverLocked(l); r {
	case NoRoom, Closed:
		s.full = true
		return false
	case TooLarge:
		s.e.stats.TooLarge.Add(1)
	}
	p.sent = l.msg.Seq
	if p.out == 0 {
		p.acked = p.sent
		s.dirtyLocked()
	}
	return true
}

// passLocked steps over entries up to seq that are not for this session: its own,
// those it may not see, and what retention has removed. A device's own messages
// count as delivered to their author.
func (s *Session) passLocked(p *position, seq uint64, counts bool) {
	p.sent = seq
	if counts {
		p.own = seq
	}
	if p.out == 0 {
		s.catchUpLocked(p)
	}
}

// catchUpLocked moves the cursor over entries that were passed over.
func (s *Session) catchUpLocked(p *position) {
	p.count = max(p.count, p.own)
	s.moveLocked(p, p.sent)
	if p.memory != nil {
		p.saved = p.acked
	}
	s.dirtyLocked()
}

// moveLocked moves the cursor of a position.
func (s *Session) moveLocked(p *position, to uint64) {
	p.acked = to
	if p.id.Kind() == chat.KindQueue && p.memory == nil {
		raise(&s.open.passed, to)
	}
}

// dirtyLocked has the flusher look at the session.
func (s *Session) dirtyLocked() {
	if !s.listed && !s.id.Guest {
		s.listed = true
		s.e.flusher.add(s)
	}
}

// Ack takes the device's acknowledgement of the delivery with that tag. refused
// is set for a reason code of 0x80 and above: the cursor passes, but nothing
// counts as delivered. It returns false for a tag that is not outstanding on this
// connection, which is otherwise ignored. It never blocks.
func (s *Session) Ack(tag uint16, refused bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.outstandingLocked(tag)
	if sl == nil || sl.step != awaitsPuback {
		s.e.stats.UnknownAcks.Add(1)
		return false
	}
	s.settleLocked(sl, refused)
	return true
}

// Completed takes the last acknowledgement (PUBCOMP) of a QoS 2 delivery. It
// returns false for a tag that does not wait for one. It never blocks.
func (s *Session) Completed(tag uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.outstandingLocked(tag)
	if sl == nil || sl.step != awaitsPubcomp {
		s.e.stats.UnknownAcks.Add(1)
		return false
	}
	s.settleLocked(sl, false)
	return true
}

// outstandingLocked returns the delivery of this connection that has the tag and
// is not acknowledged, nil if there is none.
func (s *Session) outstandingLocked(tag uint16) *slot {
	w := &s.window
	if tag > tags {
		w = &s.queue
	}
	i := w.index(tag)
	if i < 0 || s.ended || !w.sent(i) || w.at(i).done {
		return nil
	}
	return w.at(i)
}

// settleLocked ends a delivery.
func (s *Session) settleLocked(sl *slot, refused bool) {
	sl.done = true
	sl.mute = sl.mute || refused
	s.out--
	s.popDoneLocked(s.windowLocked(sl.p))
	s.wakeSoonLocked()
}

// popDoneLocked takes what is acknowledged from the start of a window.
func (s *Session) popDoneLocked(w *window) {
	for w.len() > 0 && w.at(0).done {
		s.popLocked(w)
	}
}

// popLocked takes the first, acknowledged delivery out of a window and moves its
// chat's cursor: cursors move in window order only.
func (s *Session) popLocked(w *window) {
	sl := w.pop()
	p := sl.p
	p.out--
	s.moveLocked(p, sl.seq)
	if !sl.mute && p.id.Kind() != chat.KindQueue { // nobody is told of those
		p.count = sl.seq
	}
	if p.out == 0 && p.sent > p.acked {
		s.catchUpLocked(p)
	}
	if s.id.Guest || p.memory != nil {
		p.saved = p.acked
	}
	s.dirtyLocked()
}

// Writable tells the feeder that the output has room again after NoRoom.
func (s *Session) Writable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = false
	s.wakeLocked()
}
