package delivery

import (
	"context"
	"slices"
	"time"

	"tidings/chat"
	"tidings/storage"
)

// A publish without a cid is told from its repetition by its packet identifier.
// It is settled when the client has shown that it knows the answer: by DISCONNECT
// behind the answer, by using the identifier again with DUP=0, or by sending
// anything 10 s after the answer. What is unsettled when a connection ends is kept
// with the device for a day. A PUBLISH with DUP=1 on a later connection that has the identifier, the chat
// and the content of such a row is the same publish and gets the first answer.
//
// A row names the stored message, and the content is compared with that, so that
// nothing has to be hashed on the way in.

// sentRow is one answered publish without a cid.
type sentRow struct {
	PacketID uint16  `json:"p"`
	Chat     chat.ID `json:"c"`
	Seq      uint64  `json:"s"`
	Time     int64   `json:"t"`           // of the answer, Unix milliseconds
	Open     bool    `json:"o,omitempty"` // of a QoS 2 publish on an open topic, which has no place in a chat
	kept     bool    // of QoS 2, held in the kept state: the packet log tells when it is freed
	late     bool    // answered after the client had sent DISCONNECT: it cannot know
}

const (
	settleAfter  = 10 * time.Second
	rowsKept     = 1024 // at most one window of publishes can be unanswered
	rowsLifetime = 24 * time.Hour
	lookBack     = 1000 // entries searched after a crash
)

// remember notes an answered publish. It runs on the router.
func (s *Session) remember(it *item, cid bool) {
	if it.qos == 2 || cid { // held until PUBREL, or told by the cid
		return
	}
	row := sentRow{PacketID: it.pid, Chat: it.ledger.id, Seq: it.seq, Time: time.Now().UnixMilli(), late: s.leaving.Load()}
	if len(s.sent) >= rowsKept+rowsKept/4 {
		s.sent = s.sent[:copy(s.sent, s.sent[len(s.sent)-rowsKept:])]
	}
	if n := len(s.sent); n > 0 && n < rowsKept && row.Time-s.sent[n-1].Time > settleAfter.Milliseconds() {
		s.sent = s.sent[:0] // all were settled by this publish
	}
	s.sent = append(s.sent, row)
}

// unsettled returns what a repetition on a later connection may be about. It is
// called when the session is drained; lastIn is when the client last sent
// anything.
func (s *Session) unsettled(orderly bool, lastIn, now int64) []sentRow {
	var rows []sentRow
	used := make(map[uint16]bool)
	add := func(r sentRow, fresh bool) {
		if used[r.PacketID] || len(rows) == rowsKept {
			return
		}
		used[r.PacketID] = true
		if orderly && !r.late {
			return
		}
		if fresh && lastIn < r.Time+settleAfter.Milliseconds() || !fresh && now-r.Time < rowsLifetime.Milliseconds() {
			rows = append(rows, r)
		}
	}
	for _, r := range slices.Backward(s.sent) {
		add(r, true)
	}
	for _, r := range slices.Backward(s.earlier) {
		add(r, false)
	}
	slices.Reverse(rows)
	return rows
}

// firstSend looks for an earlier send of a publish that may be a repetition, and
// fills in its answer. It runs on the committer.
func (e *Engine) firstSend(ctx context.Context, b *batch, it *item) (found bool, err error) {
	s := it.s
	if it.qos == 2 {
		if r, ok := s.heldFor(it.pid); ok && r.Seq == 0 {
			it.dropped = true // the first one will be answered
			return true, nil
		} else if ok {
			return e.answerOf(ctx, r, it)
		}
	}
	if !it.dup || it.cid.n > 0 {
		s.reuse(it.pid)
		return false, nil
	}
	for _, r := range s.earlier {
		if r.PacketID != it.pid || r.Chat != it.ledger.id || it.time-r.Time >= rowsLifetime.Milliseconds() {
			continue
		}
		msgs, err := e.store.Read(ctx, storage.Range{Chat: r.Chat, From: r.Seq, To: r.Seq, Limit: 1})
		if err != nil {
			return false, err
		}
		if len(msgs) == 1 && sameContent(b, it, &msgs[0]) {
			it.seq, it.id, it.time = msgs[0].Seq, msgs[0].ID, msgs[0].Time
			return true, nil
		}
	}
	if !s.crashed {
		return false, nil
	}
	return e.lookBack(ctx, b, it)
}

// answerOf fills in the answer that the publish of a row got.
func (e *Engine) answerOf(ctx context.Context, r sentRow, it *item) (bool, error) {
	msgs, err := e.store.Read(ctx, storage.Range{Chat: r.Chat, From: r.Seq, To: r.Seq, Limit: 1})
	if err != nil {
		return false, err
	}
	it.seq, it.time = r.Seq, r.Time
	if len(msgs) == 1 {
		it.id, it.time = msgs[0].ID, msgs[0].Time
	}
	return true, nil
}

// lookBack searches the end of the chat's log for a publish of a connection whose
// rows were lost in a crash.
func (e *Engine) lookBack(ctx context.Context, b *batch, it *item) (found bool, err error) {
	s := it.s
	to, left := it.ledger.head, lookBack
	for to > 0 && left > 0 {
		msgs, err := e.store.Read(ctx, storage.Range{Chat: it.ledger.id, To: to, Limit: min(left, 200), Reverse: true})
		if err != nil || len(msgs) == 0 {
			return false, err
		}
		for i := range msgs {
			m := &msgs[i]
			if m.Device != s.device() || m.PacketID != it.pid || m.Epoch <= s.closedAt || m.Epoch >= s.epoch || len(m.CID) > 0 {
				continue
			}
			if sameContent(b, it, m) {
				it.seq, it.id, it.time = m.Seq, m.ID, m.Time
				return true, nil
			}
			return false, nil // the identifier was used for something else since
		}
		to = msgs[len(msgs)-1].Seq - 1
		left -= len(msgs)
	}
	return false, nil
}

func sameContent(b *batch, it *item, m *chat.Message) bool {
	sent := chat.Message{Type: it.typ, Re: b.bytes(it, it.re), Mentions: b.bytes(it, it.mentions), Body: b.bytes(it, it.body)}
	return sent.ContentDigest() == m.ContentDigest()
}

// reuse settles what an identifier stood for on earlier connections. It runs on
// the committer.
func (s *Session) reuse(pid uint16) {
	if len(s.earlier) == 0 {
		return
	}
	s.earlier = slices.DeleteFunc(slices.Clone(s.earlier), func(r sentRow) bool { return r.PacketID == pid })
}

// hold keeps a QoS 2 publish until its PUBREL: a PUBLISH with that identifier is
// the same one [MQTT-4.3.3-10]. A row without a seq is still being stored.
func (s *Session) hold(pid uint16, row sentRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(map[uint16]sentRow)
	}
	s.held[pid] = row
}

// heldFor returns the first send of a QoS 2 publish whose PUBREL has not come.
func (s *Session) heldFor(pid uint16) (r sentRow, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok = s.held[pid]
	return r, ok
}

// letGo frees the packet identifier of a QoS 2 publish that was refused.
func (s *Session) letGo(packetID uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, packetID)
}
