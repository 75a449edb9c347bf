package broker

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
	"tidings/topics"
)

// will is the will message of a connection: a message that is sent for the device
// when the connection ends without DISCONNECT. It is authorised when it is sent.
type will struct {
	delay   uint32 // seconds
	expiry  uint32 // Message Expiry Interval in seconds, 0: none
	topic   string
	payload []byte
	props   []byte // as delivery.Publish.Props
	cid     string
	qos     byte
	retain  bool
	text    bool // Content Type text/plain
}

// parseWill reads the will properties, topic and payload of a CONNECT with these
// flags.
func (k *connect) parseWill(flags byte, s *scanner) (*will, byte) {
	var p props
	if k.version == 5 {
		if code := s.props(inWill, &p); code != 0 {
			return nil, code
		}
	}
	topic := s.text()
	payload := s.binary()
	switch {
	case s.bad:
		return nil, malformed
	case p.has(packets.PropResponseTopic) && !topics.ValidTopicName(p.responseTopic):
		return nil, protocolError
	case !topics.ValidTopicName(topic):
		return nil, codeTopicName
	case p.payloadFormat == 1 && !utf8.Valid(payload):
		return nil, packets.ErrPayloadFormatInvalid.Code
	}
	through, _ := p.through(nil)
	return &will{
		delay: p.willDelay, expiry: p.lifetime(), topic: string(topic), payload: bytes.Clone(payload), props: bytes.Clone(through),
		qos: flags >> 3 & 3, retain: flags&flagWillRetain != 0, text: string(p.contentType) == "text/plain",
	}, 0
}

// judgeWill tells whether a will may be one, which depends on who has logged in:
// its topic is an open one, or that of a user or a group.
func (s *Server) judgeWill(w *will, id delivery.Identity) byte {
	switch {
	case w == nil || s.engine.IsOpen(id, []byte(w.topic)):
		return 0
	case id.Open:
		return packets.ErrNotAuthorized.Code
	}
	if t := topics.Parse(w.topic); t.Kind != topics.User && t.Kind != topics.Group {
		return codeTopicName
	}
	return 0
}

// delayWithin is the will's delay, which ends with the session
// [MQTT-3.1.2-8, MQTT-3.1.3-9]. There may be no will.
func (w *will) delayWithin(expiry uint32) uint32 {
	if w == nil {
		return 0
	}
	return min(w.delay, expiry)
}

// name gives the will the cid that makes sending it to a chat again harmless.
func (w *will) name(d deviceKey, epoch uint32) {
	name := d.guest
	if d.device != 0 {
		name = strconv.FormatUint(uint64(d.device), 10)
	}
	w.cid = "will:" + name + ":" + strconv.FormatUint(uint64(epoch), 10)
}

// post sends a will as the message that it is. done is false where it may have to
// be sent again: it was not taken for a reason that may pass, or nobody knows
// whether it was.
func (s *Server) post(ctx context.Context, from delivery.Identity, m *will) (done bool) {
	p := delivery.Publish{
		Topic: []byte(m.topic), Payload: m.payload, QoS: m.qos, Retain: m.retain,
		Text: m.text, Expiry: m.expiry, Props: m.props,
	}
	err := s.engine.Post(ctx, from, &p, m.cid)
	if err == nil {
		s.counters.willsSent.Add(1)
		return true
	}
	s.counters.willsRefused.Add(1)
	s.log.Info("will message not sent", "error", err)
	r, refused := errors.AsType[*delivery.Refusal](err)
	return refused && !r.Temporary
}
