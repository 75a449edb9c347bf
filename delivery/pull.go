package delivery

import (
	"context"
	"fmt"

	"tidings/chat"
	"tidings/storage"
)

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
