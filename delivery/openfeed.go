package delivery

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"tidings/chat"
	"tidings/storage"
)

// raise sets v to n unless it is higher already.
func raise(v *atomic.Uint64, n uint64) {
	for {
		old := v.Load()
		if old >= n || v.CompareAndSwap(old, n) {
			return
		}
	}
}

// openLive is an open message on its way to one session, with scratch. It belongs
// to the router or a puller.
type openLive struct {
	openMessage
	manner
	expires int64 // Unix milliseconds; 0: never
	record  []byte
	shared  []byte // the record for those in whose memory it waits, once one needs it
	d       *Delivery
}

// toOpen hands a publish on an open topic to the live sessions among its receivers.
func (r *router) toOpen(b *batch, it *item) {
	l := &r.open
	l.record, l.shared, l.expires = b.bytes(it, it.body), nil, it.expires()
	var err error
	if l.openMessage, err = decodeOpen(l.record); err != nil {
		r.e.log.Error("cannot read an open message of our own", "err", err)
		return
	}
	for i := range it.open.targets {
		t := &it.open.targets[i]
		if s := t.sub.live.Load(); s != nil {
			l.manner = t.manner
			s.offerOpen(l, t.seq)
			r.touch(s)
		}
	}
}

// offerOpen hands a new message to the session, or notes that the queue has to be
// read. seq is its place there, zero if it has none in the store.
func (s *Session) offerOpen(l *openLive, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended || s.open == nil:
	case l.qos == 0 && l.expires != 0 && l.expires <= time.Now().UnixMilli():
	case l.qos == 0 && !s.started: // before CONNACK: the device is not here yet
		s.e.stats.OpenDrops.Add(1)
	case l.qos == 0 && (s.barred.Load() || !s.mayRead(l.topic)): // any more
	case l.qos == 0:
		if r := s.deliverOpenLocked(l); r != Delivered {
			s.e.stats.OpenDrops.Add(1)
		}
	case seq > 0:
		s.offerQueuedLocked(l, seq)
	default:
		s.offerMemoryLocked(l)
	}
}

// mayRead tells whether the session may have what was published on a topic. It is
// asked for each delivery, since it may not any more.
func (s *Session) mayRead(topic []byte) bool {
	return s.access.mayRead(topic) && s.e.open.names(&s.id).Has(topic)
}

// offerQueuedLocked is offer for an entry of the session's queue.
func (s *Session) offerQueuedLocked(l *openLive, seq uint64) {
	if p := s.noteLocked(s.open.queue(), seq); p != nil && !s.sendOpenLocked(p, l, seq, false) {
		s.fallBehindLocked(p)
	}
}

// sendOpenLocked gives one entry of a queue to the link. It returns false if there
// is no room for it now.
func (s *Session) sendOpenLocked(p *position, l *openLive, seq uint64, dup bool) bool {
	received := s.received[seq] && p.memory == nil // before a crash: PUBREL is due, whatever has become of the message
	if !received && (l.expires != 0 && l.expires <= time.Now().UnixMilli() || !s.mayRead(l.topic)) {
		s.passLocked(p, seq, false)
		return true
	}
	w := s.windowLocked(p)
	if s.barred.Load() || s.out >= s.limit || !w.takes(seq) || s.resendingLocked() {
		return false
	}
	sl := slot{p: p, seq: seq}
	if l.qos == 2 {
		sl.step = awaitsPubrec
	}
	if received {
		sl.step = awaitsPubcomp
	}
	switch s.beginLocked(l, w.nextTag(seq), sl.step, dup) {
	case Delivered:
		w.push(sl)
		s.out++
		p.out++
		p.sent = seq
		return true
	case TooLarge: // as if it had been sent [MQTT-3.1.2-25]
		s.e.stats.TooLarge.Add(1)
		s.passLocked(p, seq, false)
		return true
	default: // no room; or closed, which is for good
		s.full = true
		return false
	}
}

// beginLocked gives the link what begins, or goes on with, a delivery of that step.
func (s *Session) beginLocked(l *openLive, tag uint16, at step, dup bool) DeliverResult {
	if at == awaitsPubcomp {
		return s.link.Release(tag)
	}
	l.d.Tag, l.d.Dup = tag, dup
	return s.deliverOpenLocked(l)
}

// deliverOpenLocked gives a message to the link. Tag and Dup are set for QoS 1 and 2.
func (s *Session) deliverOpenLocked(l *openLive) DeliverResult {
	d := l.d
	tag, dup := d.Tag, d.Dup
	*d = Delivery{Topic: l.topic, Payload: l.payload, Props: l.props, QoS: l.qos, Retain: l.retain, Filters: l.ids, Ordinary: l.qos > 0}
	if l.qos > 0 {
		d.Tag, d.Dup = tag, dup
	}
	if l.expires != 0 {
		d.Expiry = uint32(max(1, (l.expires-time.Now().UnixMilli()+999)/1000))
	}
	return s.link.Deliver(d)
}

// pullQueue reads and sends the next entries of a session's queue.
func (w *puller) pullQueue(ctx context.Context, s *Session, p *position) error {
	if p.memory != nil {
		s.mu.Lock()
		s.sendMemoryLocked(p, &w.open)
		s.mu.Unlock()
		s.link.Flush()
		return nil
	}
	s.mu.Lock()
	if dropped := s.open.dropped.Load(); dropped > p.sent && p.sent < p.want && !s.ended {
		s.giveUpLocked(p, min(dropped, p.want))
	}
	r := storage.Range{Chat: p.id, From: p.sent + 1, To: p.want, Limit: max(1, min(pullEntries, s.limit-s.out)), Bytes: pullBytes}
	s.mu.Unlock()
	var msgs []chat.Message
	if r.From <= r.To {
		var err error
		if msgs, err = w.e.store.Read(ctx, r); err != nil {
			s.mu.Lock()
			s.behind[p.class()].push(p)
			s.mu.Unlock()
			return err
		}
	}
	s.mu.Lock()
	w.sendQueue(s, p, r, msgs)
	s.mu.Unlock()
	s.link.Flush()
	return nil
}

func (w *puller) sendQueue(s *Session, p *position, r storage.Range, msgs []chat.Message) {
	if s.ended {
		return
	}
	for i := range msgs {
		m := &msgs[i]
		if m.Seq > p.sent+1 {
			s.passLocked(p, m.Seq-1, false) // forgotten entries
		}
		if m.Stub {
			s.passLocked(p, m.Seq, false)
			continue
		}
		if err := w.open.read(m); err != nil {
			w.e.log.Error("cannot read an entry of a queue", "err", err, "chat", p.id.String(), "seq", m.Seq)
			s.passLocked(p, m.Seq, false)
			continue
		}
		if !s.sendOpenLocked(p, &w.open, m.Seq, m.Seq <= p.dupTo) {
			break
		}
	}
	if len(msgs) == 0 && r.From <= r.To && p.sent < r.To {
		s.passLocked(p, r.To, false)
	}
	if p.behind = p.sent < p.want; p.behind {
		s.behind[p.class()].push(p)
	}
}

// read takes an entry of a queue.
func (l *openLive) read(m *chat.Message) (err error) {
	if m.Type != typeOpen {
		return fmt.Errorf("%w: it has type %q", errOpenRecord, m.Type)
	}
	if l.openMessage, err = decodeOpen(m.Body); err != nil {
		return err
	}
	l.record = m.Body
	l.expires, err = l.manner.decode(m.Re)
	return err
}

// resendOpen sends one delivery of the window again, or the packet that completes
// it. sent is false while there is no room.
func (w *puller) resendOpen(ctx context.Context, s *Session, tag uint16, sl slot) (sent bool, err error) {
	visible := sl.step == awaitsPubcomp
	if !visible {
		msgs, err := w.e.store.Read(ctx, storage.Range{Chat: sl.p.id, From: sl.seq, To: sl.seq, Limit: 1})
		if err != nil {
			return false, err
		}
		// What has been sent does not expire [MQTT-4.3.3-7].
		visible = len(msgs) == 1 && !msgs[0].Stub && w.open.read(&msgs[0]) == nil && s.mayRead(w.open.topic)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	win := s.windowLocked(sl.p)
	if s.ended || win.again >= win.len() || win.tagAt(win.again) != tag {
		return false, nil
	}
	at := win.at(win.again)
	r := TooLarge
	if visible {
		r = s.beginLocked(&w.open, tag, at.step, true)
	}
	if r == TooLarge && at.step == awaitsPubrec {
		// The device may have it already, and would take the next message with that tag for
		// a repetition: PUBREL ends what it keeps of the exchange.
		at.step, at.mute = awaitsPubcomp, true
		r = s.link.Release(tag)
	}
	switch r {
	case Delivered:
		win.again++
		s.out++
		return true, nil
	case TooLarge:
		at.done, at.mute = true, true
		win.again++
		s.popDoneLocked(win)
		return true, nil
	default:
		s.full = true
		return false, nil
	}
}
