package delivery

import (
	"context"
	"encoding/binary"

	"tidings/chat"
	"tidings/storage"
)

// Exactly once over a crash. Each side of a QoS 2 exchange may forget the message
// only when the other side is sure to have it, so on open topics the server makes
// each step durable before it answers: that a publish was taken (with the publish,
// before PUBREC), that its identifier is free again (before PUBCOMP), and that a
// delivery was received (before PUBREL). The steps of a persistent session go to
// its packet log; after a crash they are read again. Deliveries are sent again
// with the tags they had (see window), so that the receiver knows them.

// Types of the entries of a packet log. The identifier of stepHeld and stepFreed is
// the entry's PacketID, the seq of stepReceived its body.
const (
	stepHeld     = "held"
	stepFreed    = "freed"
	stepReceived = "received"
)

// kept is the step under which a delivery is kept when the session ends.
func (s step) kept() step {
	if s == awaitsStore {
		return awaitsPubrec
	}
	return s
}

// lasting tells whether the session's exchanges go on after its connection.
func (s *Session) lasting() bool { return !s.temporary && !s.id.Guest }

func (s *Session) noteReceived(seq uint64) {
	if s.received == nil {
		s.received = make(map[uint64]bool)
	}
	s.received[seq] = true
}

// Received takes the first acknowledgement (PUBREC) of a QoS 2 delivery to s, also
// a repetition. When it is durable, Link.Release follows. refused is set for a
// reason code of 0x80 and above, which ends the delivery. It returns false for a
// tag that is not outstanding.
func (t *Turn) Received(s *Session, tag uint16, refused bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.outstandingLocked(tag)
	switch {
	case sl == nil || sl.step == awaitsPuback:
		t.e.stats.UnknownAcks.Add(1)
		return false
	case refused:
		s.settleLocked(sl, true)
		return true
	case sl.step == awaitsPubrec:
		sl.step = awaitsStore
	}
	it := t.next(s, tag, 2)
	it.kind, it.seq = kindReceived, sl.seq
	it.on = sl.step == awaitsStore && sl.p.memory == nil && s.lasting()
	return true
}

// Released takes the PUBREL of a QoS 2 publish. When it is durable that the packet
// identifier is free again, Link.Complete follows [MQTT-4.3.3-12]. here tells that
// this connection has brought such a publish, also one that was not held.
func (t *Turn) Released(s *Session, packetID uint16, here bool) {
	r, known := s.heldFor(packetID)
	it := t.next(s, packetID, 2)
	it.kind, it.held = kindReleased, known || here
	it.on = known && (r.Open || r.kept) && s.lasting()
}

// stepLog is what the committer knows of a session's packet log.
type stepLog struct {
	head     uint64
	known    bool
	trimmed  uint64
	held     map[uint16]uint64  // entries that are still needed: by packet identifier; zero: it is in the kept state
	received map[uint64]uint64  // and by seq in the queue
	kept     map[uint16]sentRow // publishes that the kept state holds, be they freed since or not
}

func (l *stepLog) hold(packetID uint16, entry uint64) {
	if l.held == nil {
		l.held = make(map[uint16]uint64)
	}
	l.held[packetID] = entry
}

func (l *stepLog) receive(seq, entry uint64) {
	if l.received == nil {
		l.received = make(map[uint64]uint64)
	}
	l.received[seq] = entry
}

// inherit notes that the kept state holds a publish.
func (l *stepLog) inherit(r sentRow) {
	if l.kept == nil {
		l.kept = make(map[uint16]sentRow)
	}
	l.kept[r.PacketID] = r
	l.hold(r.PacketID, 0)
}

// addStep adds an entry about item i to its session's packet log.
func (c *committer) addStep(b *batch, i int32, typ string) {
	it := &b.items[i]
	b.index, b.targets = append(b.index, i), append(b.targets, nil)
	b.entries.Entries = append(b.entries.Entries, storage.Entry{After: it.s.steps.head})
	m := &b.entries.Entries[len(b.entries.Entries)-1].Message
	m.Chat, m.Type, m.Time, m.From = chat.PacketsChat(it.s.device()), typ, it.time, it.from()
	m.Device, m.Epoch, m.PacketID = it.s.device(), it.s.epoch, it.pid
	if typ == stepReceived {
		m.Body = binary.AppendUvarint(nil, it.seq)
	}
}

// prepareStep adds what an acknowledgement of a QoS 2 exchange makes durable.
func (c *committer) prepareStep(b *batch, i int32) {
	switch it := &b.items[i]; {
	case !it.on:
	case it.kind == kindReceived:
		c.addStep(b, i, stepReceived)
	default:
		c.addStep(b, i, stepFreed)
	}
}

// needsSteps tells whether an item adds to its session's packet log.
func (it *item) needsSteps() bool {
	switch it.kind {
	case kindReceived, kindReleased:
		return it.on
	case kindOpen:
		return it.qos == 2 && it.s != nil && it.s.lasting()
	}
	return false
}

// resolveSteps reads the head of a session's packet log.
func (c *committer) resolveSteps(ctx context.Context, s *Session) error {
	if s.steps.known {
		return nil
	}
	infos, err := c.e.store.Chats(ctx, []chat.ID{chat.PacketsChat(s.device())})
	if err != nil {
		return err
	}
	s.steps.head, s.steps.known = infos[0].Head, true
	return nil
}

// settleStep takes over that an entry of a packet log was stored, and tells
// whether it has to be appended again.
func (c *committer) settleStep(it *item, m *chat.Message, r *storage.Result) (again bool) {
	l := &it.s.steps
	if r.Outcome != storage.Stored {
		l.known = false
		return true
	}
	l.head = max(l.head, r.Seq)
	switch m.Type {
	case stepHeld:
		l.hold(it.pid, r.Seq)
	case stepFreed:
		delete(l.held, it.pid)
	case stepReceived:
		l.receive(it.seq, r.Seq)
	}
	if l.head >= l.trimmed+2*trimStep {
		c.trimSteps(it.s)
	}
	return false
}

// trimSteps has the entries removed in front of the first that is still needed.
// That a publish of the kept state was freed is needed as long as that state is, so
// where there is such an entry a new state is written first.
func (c *committer) trimSteps(s *Session) {
	l := &s.steps
	first := l.firstNeeded(s)
	if first <= l.trimmed+trimStep {
		return
	}
	l.trimmed = first - 1
	still, changed := l.stillKept()
	id, to := chat.PacketsChat(s.device()), l.trimmed
	c.e.flusher.later(func(ctx context.Context) {
		err := s.keepHeld(ctx, still, changed)
		if err == nil {
			err = c.e.store.Trim(ctx, storage.Trim{Chat: id, Forget: to})
		}
		if err != nil {
			c.e.log.Error("cannot trim a packet log", "err", err, "chat", id.String())
		}
	})
}

// firstNeeded returns the first entry that has to stay.
func (l *stepLog) firstNeeded(s *Session) uint64 {
	first := l.head
	for _, entry := range l.held {
		if entry > 0 {
			first = min(first, entry)
		}
	}
	s.mu.Lock()
	sub := s.open
	s.mu.Unlock()
	acked := uint64(0)
	if sub != nil {
		acked = sub.acked.Load()
	}
	for seq, entry := range l.received {
		if seq <= acked {
			delete(l.received, seq)
		} else {
			first = min(first, entry)
		}
	}
	return first
}

// stillKept returns those publishes of the kept state that have not been freed
// since, and whether that is not all of them any more.
func (l *stepLog) stillKept() (still []sentRow, changed bool) {
	for packetID, r := range l.kept {
		if entry, held := l.held[packetID]; held && entry == 0 {
			still = append(still, r)
		} else {
			delete(l.kept, packetID)
			changed = true
		}
	}
	return still, changed
}

// finishStep tells the session that a step is durable. It runs on the router.
func (r *router) finishStep(it *item) {
	s := it.s
	s.mu.Lock()
	if it.kind == kindReleased {
		ended := s.ended
		delete(s.held, it.pid)
		s.mu.Unlock()
		if !ended { // else what is kept may hold it still: PUBREL has to come again
			s.link.Complete(it.pid, it.held)
		}
		return
	}
	if sl := s.outstandingLocked(it.pid); sl != nil && sl.seq == it.seq && sl.step != awaitsPuback {
		sl.step = awaitsPubcomp
		s.link.Release(it.pid)
	}
	s.mu.Unlock()
}

// readSteps finds out after a crash how far the session's QoS 2 exchanges had come.
func (s *Session) readSteps(ctx context.Context) error {
	from := uint64(1)
	for {
		page, err := s.e.store.Read(ctx, storage.Range{Chat: chat.PacketsChat(s.device()), From: from})
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			m := &page[i]
			from = m.Seq + 1
			if m.Epoch <= s.closedAt || m.Epoch < s.began || m.Epoch >= s.epoch || m.Stub {
				continue
			}
			switch m.Type {
			case stepHeld:
				s.held[m.PacketID] = sentRow{PacketID: m.PacketID, Time: m.Time, Open: true}
				s.steps.hold(m.PacketID, m.Seq)
			case stepFreed:
				delete(s.held, m.PacketID)
				delete(s.steps.held, m.PacketID)
			case stepReceived:
				if seq, n := binary.Uvarint(m.Body); n > 0 {
					s.noteReceived(seq)
					s.steps.receive(seq, m.Seq)
				}
			}
		}
	}
}
