package opencrash_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"tidings/internal/mqttest"
)

const (
	inFlight = 24 // publishes of one publisher that are not complete
	lastID   = 90 // identifiers wrap early, so that each is used again and again
)

// message is one publish in all its sends.
type message struct {
	n      int // 1, 2, … of its publisher
	topic  string
	qos    byte
	retain bool
	empty  bool // no payload: it removes the retained message
	id     uint16
	sends  int
	state  verdict
}

// verdict is what a publisher knows of its message.
type verdict byte

const (
	unsure   verdict = iota
	accepted         // PUBACK or PUBREC said so
	rejected
)

// publisher is the role of a client that publishes.
type publisher struct {
	c      *client
	kind   publisherKind
	all    []*message
	out    []*message // not complete, oldest first: those accepted wait for PUBCOMP
	lastID uint16

	sent     [3][]uint16 // by QoS: identifiers in the order in which they were sent on this connection, not answered yet
	again    map[uint16]bool
	ended    bool         // the last message of all is published
	regular  atomic.Int64 // messages on topics that all see
	open     atomic.Int64 // len(out)
	sends    atomic.Int64 // of all messages
	accepted atomic.Int64
	done     atomic.Bool // ended, for others
}

// publisherKind says where a publisher writes.
type publisherKind byte

const (
	ordinary   publisherKind = iota // topics that all subscribers see, and its own retained ones
	restricted                      // also where it may not
	flooding                        // the topic of the absent subscriber only
)

func (p *publisher) payload(m *message) []byte {
	if m.empty {
		return nil
	}
	return fmt.Appendf(nil, "%s %d", p.c.name, m.n)
}

// begin sends again what is not complete, in the order of the first sends [MQTT-4.4.0-1].
func (p *publisher) begin() {
	p.sent, p.again = [3][]uint16{}, make(map[uint16]bool)
	for _, m := range p.out {
		if m.qos == 2 && m.state == accepted {
			p.again[m.id] = true
			p.c.note(event{What: "PUBREL again", Of: p.c.name, N: m.n, ID: m.id})
			p.c.send(mqttest.PUBREL, m.id)
			continue
		}
		p.send(m)
	}
}

func (p *publisher) send(m *message) {
	m.sends++
	p.sends.Add(1)
	p.c.note(event{What: "PUBLISH out", Of: p.c.name, N: m.n, ID: m.id, QoS: m.qos, Dup: m.sends > 1, Text: m.topic})
	p.sent[m.qos] = append(p.sent[m.qos], m.id)
	p.c.link.out = mqttest.AppendPublish(p.c.link.out, p.c.opts.Version, &mqttest.Publish{
		Topic: m.topic, Payload: p.payload(m), QoS: m.qos, Retain: m.retain, ID: m.id, Dup: m.sends > 1,
	})
}

func (p *publisher) step(burst bool) {
	if p.c.w.last.Load() && !p.ended {
		p.ended = true
		defer p.done.Store(true)
		p.publish("open/all/" + p.c.name + "/a")
	}
	n := 1 + p.c.rng.IntN(3)
	if burst || p.c.rng.IntN(12) == 0 || p.kind == flooding {
		n = 12
	}
	for range n {
		if len(p.out) >= p.limit() || !p.c.w.load.Load() || !p.c.w.roomFor(p) {
			return
		}
		p.publish(p.pick())
	}
}

// limit is how many publishes may be under way: no more than the server allows.
func (p *publisher) limit() int {
	if n, ok := p.c.ack.Props.Number(mqttest.PropReceiveMaximum); ok {
		return min(inFlight, int(n))
	}
	return inFlight
}

// pick chooses a topic.
func (p *publisher) pick() string {
	switch n := p.c.rng.IntN(20); {
	case p.kind == flooding:
		return "open/full/" + p.c.name
	case n < 2:
		return "open/keep/" + p.c.name
	case n < 4:
		return "open/all/" + p.c.name + "/kept"
	case n < 5 && p.kind == restricted:
		return "open/deny/" + p.c.name
	default:
		return "open/all/" + p.c.name + "/" + string("abc"[p.c.rng.IntN(3)])
	}
}

func (p *publisher) publish(topic string) {
	m := &message{n: len(p.all) + 1, topic: topic, qos: byte(1 + p.c.rng.IntN(2)), retain: retained(topic), id: p.freeID()}
	m.empty = strings.HasPrefix(topic, "open/keep/") && p.c.rng.IntN(3) == 0
	if m.retain { // one QoS for each topic: a QoS 1 publish that is sent again may come behind a QoS 2 one that is not taken again
		m.qos = 2
		if seenByAll(topic) {
			m.qos = 1
		}
	}
	if seenByAll(topic) {
		p.regular.Add(1)
	}
	p.all, p.out = append(p.all, m), append(p.out, m)
	p.open.Store(int64(len(p.out)))
	p.send(m)
}

func (p *publisher) freeID() uint16 {
	for {
		p.lastID = p.lastID%lastID + 1
		if p.byID(p.lastID) < 0 {
			return p.lastID
		}
	}
}

func (p *publisher) byID(id uint16) int {
	return slices.IndexFunc(p.out, func(m *message) bool { return m.id == id })
}

func (p *publisher) rest() {}

func (p *publisher) packet(k mqttest.Packet) {
	a, err := k.Ack(p.c.opts.Version)
	if err != nil || k.Type() < mqttest.PUBACK || k.Type() > mqttest.PUBCOMP || k.Type() == mqttest.PUBREL {
		p.c.wrong("not expected", event{What: k.String()})
		return
	}
	e := event{What: [...]string{"PUBACK", "PUBREC", "", "PUBCOMP"}[a.Type-mqttest.PUBACK], Of: p.c.name, ID: a.ID, Code: a.Code}
	i := p.byID(a.ID)
	if i < 0 {
		p.c.wrong("nothing is under way with that identifier", e)
		return
	}
	m := p.out[i]
	e.N, e.QoS = m.n, m.qos
	p.c.note(e)
	switch {
	case (a.Type == mqttest.PUBACK) != (m.qos == 1):
		p.c.wrong("wrong for its QoS", e)
	case a.Type == mqttest.PUBCOMP && m.state != accepted:
		p.c.wrong("comes before PUBREC", e)
	case a.Type == mqttest.PUBREC && m.state == accepted:
		p.c.wrong("comes twice", e)
	case a.Type == mqttest.PUBCOMP:
		if a.Code != 0 && !p.again[m.id] {
			p.c.wrong("does not know the publish", e)
		}
		p.complete(i)
	default:
		p.answered(i, a, e)
	}
}

// answered takes the first acknowledgement.
func (p *publisher) answered(i int, a *mqttest.Ack, e event) {
	m := p.out[i]
	if sent := p.sent[m.qos]; len(sent) == 0 || sent[0] != a.ID {
		p.c.wrong("acknowledgements are not in the order of the publishes", e)
	}
	p.sent[m.qos] = slices.DeleteFunc(p.sent[m.qos], func(id uint16) bool { return id == a.ID })
	switch {
	case a.Code >= 0x80:
		m.state = rejected
		if !(a.Code == 0x87 && denied(m.topic) || a.Code == 0x97 && flooded(m.topic) && p.c.w.refuses) {
			p.c.wrong("refused", e)
		}
		p.complete(i)
		return
	case denied(m.topic) && p.c.opts.Version == mqttest.V5:
		p.c.wrong("allowed", e)
	}
	m.state = accepted
	if n := p.accepted.Add(1) - p.c.w.absent.distinct.Load(); p.kind == flooding && p.c.w.refuses && n > queueLimit {
		p.c.wrong(fmt.Sprintf("%d messages wait for the absent subscriber", n), e)
	}
	if m.qos == 1 {
		p.complete(i)
		return
	}
	p.c.send(mqttest.PUBREL, m.id)
}

func (p *publisher) complete(i int) {
	p.out = slices.Delete(p.out, i, i+1)
	p.open.Store(int64(len(p.out)))
}
