package delivery

import (
	"errors"

	"tidings/chat"
	"tidings/hooks"
	"tidings/topics"
)

// Publish is one publish as the carrier read it. The slices are valid during the
// call only.
type Publish struct {
	Topic    []byte
	Payload  []byte
	PacketID uint16
	QoS      byte
	Dup      bool
	Retain   bool
	Text     bool   // payload is text whatever it begins with (Content Type text/plain)
	Expiry   uint32 // MQTT Message Expiry Interval in seconds, zero: none
	Props    []byte // properties that receivers on open topics get unchanged, in the carrier's encoding; chats ignore them
}

// Turn collects what one read round of a carrier's goroutine brought, so that it
// is handed to the engine with one lock. It belongs to one goroutine.
type Turn struct {
	e     *Engine
	items []item
	data  []byte
	asked hooks.Publish // scratch for the plugins
}

// NewTurn returns an empty turn for a goroutine of the carrier to use again and
// again.
func (e *Engine) NewTurn() *Turn { return &Turn{e: e} }

// Publish adds a publish of s. Its outcome reaches s's Link as an Answer, in
// order. Topics that are not below u/ or g/ are refused as unknown: rpc/ and open
// topics are the carrier's, which reports them with Answer.
func (t *Turn) Publish(s *Session, p *Publish) {
	it := t.next(s, p.PacketID, p.QoS)
	it.topic = t.put(p.Topic)
	if s.closing.Load() { // what is kept of the session may have been written already
		it.dropped = true
		return
	}
	if t.e.plugins.HasPublisher() {
		t.asked = hooks.Publish{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS}
		if err := t.e.plugins.BeforePublish(&s.id.Actor, &t.asked); err != nil {
			it.doubt = pluginRefusal(err)
		}
	}
	it.refusal = t.read(it, &s.id, s.access.now.Load(), p)
	if it.refusal == nil && it.kind != kindMessage {
		it.refusal = it.doubt
	}
}

// Answer adds a publish that the carrier has decided itself, so that its
// acknowledgement leaves in its place.
func (t *Turn) Answer(s *Session, packetID uint16, qos byte, r *Refusal) {
	it := t.next(s, packetID, qos)
	it.refusal = r
}

// Commit hands everything over and empties the turn. It blocks while the engine
// is full: that is the backpressure that reaches clients through TCP.
func (t *Turn) Commit() {
	if len(t.items) == 0 {
		return
	}
	if !t.e.intake.add(t.items, t.data) {
		for i := range t.items { // shut down: nothing is stored or answered
			t.items[i].s.answered(1)
		}
	}
	clear(t.items)
	t.items, t.data = t.items[:0], t.data[:0]
	if cap(t.data) > maxIdleBatchData {
		t.items, t.data = nil, nil
	}
}

func (t *Turn) next(s *Session, packetID uint16, qos byte) *item {
	s.pending.Add(1)
	t.items = append(t.items, item{s: s, pid: packetID, qos: qos, base: 0})
	return &t.items[len(t.items)-1]
}

// put copies b into the turn's data.
func (t *Turn) put(b []byte) span {
	off := len(t.data)
	t.data = append(t.data, b...)
	return span{uint32(off), uint32(len(b))}
}

// read parses a publish into it; a refusal says why it cannot be.
func (t *Turn) read(it *item, id *Identity, a *topics.Access, p *Publish) *Refusal {
	topic := topics.Parse(p.Topic)
	if (topic.Kind == topics.None || id.Open) && t.e.open.names(id).Has(p.Topic) {
		return t.readOpen(it, a, p)
	}
	if id.Open {
		return refuseNotAllowed
	}
	if err := topics.CheckPublish(topic, id.Actor.UserName); err != nil {
		return topicRefusal(err)
	}
	it.name = span{it.topic.off + 2, uint32(len(topic.Name))}
	if len(p.Payload) > 2*t.e.cfg.BodyLimit {
		return refuseTooLarge
	}
	switch topic.Kind {
	case topics.User, topics.Group:
		it.group = topic.Kind == topics.Group
		return t.readMessage(it, p)
	case topics.UserRead, topics.GroupRead:
		it.kind, it.group = kindRead, topic.Kind == topics.GroupRead
		seq, err := chat.ParseRead(p.Payload)
		if err != nil {
			return draftRefusal(err)
		}
		it.seq = seq
	case topics.UserTyping, topics.GroupTyping:
		it.kind, it.group = kindTyping, topic.Kind == topics.GroupTyping
		on, err := chat.ParseTyping(p.Payload)
		if err != nil {
			return draftRefusal(err)
		}
		it.on = on
	case topics.Presence:
		it.kind = kindPresence
		state, err := chat.ParsePresence(p.Payload)
		if err != nil {
			return draftRefusal(err)
		}
		it.state = state
	default:
		return refuseUnknownTopic
	}
	return nil
}

func (t *Turn) readMessage(it *item, p *Publish) *Refusal {
	it.kind = kindMessage
	d, err := chat.ParseDraft(p.Payload, chat.DraftOptions{Text: p.Text})
	if err != nil {
		return draftRefusal(err)
	}
	if max(len(d.Text), len(d.Body)) > t.e.cfg.BodyLimit {
		return refuseTooLarge
	}
	it.typ, it.dup = d.Type, p.Dup
	off := len(t.data)
	t.data = d.AppendBody(t.data)
	it.body = span{uint32(off), uint32(len(t.data) - off)}
	if d.CID != nil {
		it.cid = t.put(d.CID)
	}
	if d.Re != nil {
		it.re = t.put(d.Re)
	}
	if d.Mentions != nil {
		it.mentions = t.put(d.Mentions)
	}
	if it.ttl = uint32(d.TTL); it.ttl == 0 {
		it.ttl = min(p.Expiry, chat.MaxTTL)
	}
	return nil
}

// draftRefusal turns the error of a payload that does not parse into a refusal.
func draftRefusal(err error) *Refusal {
	if e, ok := errors.AsType[*chat.DraftError](err); ok {
		return &Refusal{Code: e.Code, Message: e.Error()}
	}
	return malformed(err.Error())
}

// topicRefusal turns an error of package topics into a refusal.
func topicRefusal(err error) *Refusal {
	if e, ok := errors.AsType[*topics.Refusal](err); ok {
		return &Refusal{Code: e.Code, Message: e.Message}
	}
	return refuseUnknownTopic
}

// pluginRefusal turns the refusal of a plugin into ours.
func pluginRefusal(err error) *Refusal {
	if e, ok := errors.AsType[*hooks.Refusal](err); ok {
		return &Refusal{Code: e.Code, Message: e.Message}
	}
	return refuseNotAllowed
}
