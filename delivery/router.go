package delivery

import (
	"context"
	"slices"
	"time"

	"tidings/chat"
)

// router is the one goroutine behind the committer: it answers the senders of a
// batch in publish order, hands what was stored to live sessions, and gives the
// batch back.
type router struct {
	e  *Engine
	in chan *batch

	routed chan struct{} // tells the committer that a part of a batch has been routed

	round  uint64
	links  []Link // written to in this round
	direct [2]live
	d      Delivery
	bufs   [2][]byte
	open   openLive
	told   []*chat.Message // for plugins
	answer Answer
}

func newRouter(e *Engine) *router {
	return &router{e: e, in: make(chan *batch, 1), routed: make(chan struct{}), open: openLive{d: &Delivery{}}}
}

// run routes until the committer has closed the queue.
func (r *router) run() {
	for b := range r.in {
		last := b.to == len(b.items)
		r.route(b)
		if last {
			r.e.intake.giveBack(b)
		} else {
			r.routed <- struct{}{}
		}
	}
}

func (r *router) route(b *batch) {
	r.round++
	items := b.part()
	for i := range items {
		it := &items[i]
		if it.msg != nil && it.ledger.group != nil {
			r.e.open.membersChanged(r.e.ctx, it.ledger.group.Name, it.changes)
		}
		r.reply(b, it)
		if it.msg != nil {
			it.msg.Seq = it.seq
			r.deliver(it, it.msg)
			if r.e.plugins.HasCommitted() {
				r.told = append(r.told, it.msg)
			}
		} else if it.refusal == nil && (!it.dropped || it.kind == kindOpen) { // what is in queues must be offered
			r.spread(b, it)
		}
	}
	if len(r.told) > 0 {
		r.e.plugins.AfterCommit(r.told)
		clear(r.told)
		r.told = r.told[:0]
	}
	for i, l := range r.links {
		l.Flush()
		r.links[i] = nil
	}
	r.links = r.links[:0]
	if b.number > 0 {
		r.e.progress.done(b.number)
	}
	for i := range items {
		it := &items[i]
		if it.open != nil {
			r.e.open.giveBack(it.open)
			it.open = nil
		}
		if it.s != nil {
			it.s.answered(1)
		}
	}
}

// touch notes that a session's link has something to flush.
func (r *router) touch(s *Session) {
	if s.touched != r.round {
		s.touched = r.round
		r.links = append(r.links, s.link)
	}
}

// reply gives an item's outcome to whoever waits for it.
func (r *router) reply(b *batch, it *item) {
	if it.post != nil {
		it.post.finish(it)
		return
	}
	if it.dropped {
		return
	}
	if it.kind == kindReceived || it.kind == kindReleased {
		r.finishStep(it)
		r.touch(it.s)
		return
	}
	s := it.s
	a := &r.answer
	if it.refusal != nil {
		r.e.stats.Refused.Add(1)
	}
	*a = Answer{PacketID: it.pid, QoS: it.qos, Refusal: it.refusal, Topic: b.bytes(it, it.topic)}
	if it.refusal == nil && it.kind == kindMessage {
		a.Seq, a.Time, a.ID, a.Chat, a.CID = it.seq, it.time, it.id, a.Topic, b.bytes(it, it.cid)
		if it.qos > 0 {
			s.remember(it, len(a.CID) > 0)
		}
	} else if it.kind == kindMessage {
		a.CID = b.bytes(it, it.cid)
	}
	if it.refusal != nil && it.qos == 2 {
		s.letGo(it.pid)
	}
	if it.kind == kindMessage || it.refusal != nil {
		s.mu.Lock()
		if s.scope != nil {
			a.Sent = s.scope.sent
		}
		s.mu.Unlock()
	}
	s.link.Answer(a)
	r.touch(s)
}

// spread hands on what is live only.
func (r *router) spread(b *batch, it *item) {
	switch it.kind {
	case kindRead:
		if it.seq > 0 {
			r.e.flusher.readLater(markKey{it.ledger.id, it.from()}, it.seq)
		}
	case kindTyping:
		r.typing(it)
	case kindPresence:
		r.e.presence.say(it.s, it.state)
	case kindOpen:
		r.toOpen(b, it)
	}
}

// deliver hands a stored entry to the live sessions of everybody in the chat.
func (r *router) deliver(it *item, m *chat.Message) {
	from, device := r.names(it)
	c := it.ledger
	switch {
	case c.group != nil:
		r.toGroup(it, m, from, device)
	case c.users[1] == nil: // events or notes
		topic := c.users[0].topic
		if m.Chat.Kind() == chat.KindEvents {
			topic += "/events"
		}
		r.to(0, it.s, c.users[0].ID, m, topic, topic, from, device)
	default:
		for i, u := range c.users {
			r.to(i, it.s, u.ID, m, u.topic, c.users[1-i].topic, from, device)
		}
	}
}

// names returns the sender's names for the envelope.
func (r *router) names(it *item) (from, device string) {
	switch {
	case it.s != nil:
		return it.s.id.Actor.UserName, it.s.id.Actor.DeviceName
	case it.kind == kindEntry:
		return it.post.from.UserName, ""
	default:
		return it.post.from.UserName, it.post.from.DeviceName
	}
}

// to hands an entry to the live sessions of one user; view selects the scratch
// that holds its form.
func (r *router) to(view int, origin *Session, u chat.UserID, m *chat.Message, topic, reply, from, device string) {
	sessions := r.e.directory.of(u)
	if len(sessions) == 0 {
		return
	}
	l := &r.direct[view]
	*l = live{msg: m, origin: origin, topic: topic, reply: reply, from: from, device: device, d: &r.d}
	r.bufs[view] = chat.AppendEnvelope(r.bufs[view][:0], m, chat.View{Chat: reply, From: from, Device: device})
	l.payload = r.bufs[view]
	for _, s := range sessions {
		s.offer(l)
		r.touch(s)
	}
}

// toGroup hands an entry to the live sessions of a group's members, and makes the
// membership changes that it tells of.
func (r *router) toGroup(it *item, m *chat.Message, from, device string) {
	g := it.ledger.group
	rm := r.room(m.Chat, m.Seq)
	for _, ch := range it.changes {
		if ch.Role != chat.RoleNone {
			for _, s := range r.e.directory.of(ch.User) {
				rm.join(s)
				if ch.History {
					s.lookAgain()
				}
			}
		}
	}
	l := &r.direct[0]
	*l = live{msg: m, origin: it.s, topic: g.topic, reply: g.topic, from: from, device: device, group: g.Name, d: &r.d}
	r.bufs[0] = chat.AppendEnvelope(r.bufs[0][:0], m, chat.View{Chat: g.topic, From: from, Device: device})
	l.payload = r.bufs[0]
	for _, s := range rm.sessions() {
		s.offer(l)
		r.touch(s)
	}
	var left []chat.UserID
	for _, ch := range it.changes {
		if ch.Role == chat.RoleNone {
			left = append(left, ch.User)
		}
	}
	if len(left) > 0 {
		rm.drop(func(s *Session) bool { return slices.Contains(left, s.user()) })
	}
}

// room returns the room of a group, making it from the member rows if there is
// none: of those who see the entry at seq, even if they have left since.
func (r *router) room(id chat.ID, seq uint64) *room {
	if rm := r.e.rooms.get(id); rm != nil {
		return rm
	}
	rm := r.e.rooms.open(id)
	for _, member := range r.members(r.e.ctx, id) {
		if !member.Sees(seq) {
			continue
		}
		for _, s := range r.e.directory.of(member.User) {
			rm.join(s)
		}
	}
	return rm
}

// members reads a group's rows. A live session counts on being offered every
// entry, so the router cannot go on without them: it waits for the store.
func (r *router) members(ctx context.Context, id chat.ID) []chat.Member {
	for {
		rows, _, err := r.e.store.Members(ctx, id)
		if err == nil || ctx.Err() != nil {
			return rows
		}
		r.e.log.Error("cannot read the members of a group; waiting", "err", err, "chat", id.String())
		select {
		case <-ctx.Done():
		case <-time.After(pullRetry):
		}
	}
}
