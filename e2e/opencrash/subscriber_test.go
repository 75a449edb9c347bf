package opencrash_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"tidings/internal/mqttest"
	"tidings/topics"
)

// subscriber is the role of a client that subscribes.
type subscriber struct {
	c       *client
	filters []mqttest.Subscription // the options of each hold its QoS only
	max     int                    // Receive Maximum; 0: none
	lazy    bool                   // acknowledges late

	known map[uint16]string // QoS 2 deliveries between PUBREC and PUBREL: their payloads by identifier
	open  map[uint16]bool   // sent on this connection and not complete
	held  []heldAck         // acknowledgements that are due
	tally
}

type heldAck struct {
	kind byte
	id   uint16
}

// named is a message as its payload names it.
type named struct {
	publisher string
	n         int
}

// seen is what has come of one message.
type seen struct {
	times int // as the application sees it
	fresh int // without DUP
	conn  int // connection of the last time
	here  int // times on that connection
	most  int // times on one connection

	behind int // number of the later message that came before; zero: none, or it is judged already
}

// tally is what an application has got.
type tally struct {
	pair     *union // of a shared subscription; else nil
	loose    bool   // the first copy of what is published again may have gone to the other of the pair, or found a full queue
	taken    map[named]*seen
	last     map[string]int // by publisher: the highest number
	distinct atomic.Int64   // messages that neither it nor, of a pair, the other one had
	latest   atomic.Int64   // number of the message that came last for the first time
}

// union is what has come to either of a pair.
type union struct {
	mu    sync.Mutex
	taken map[named]bool
}

func (u *union) add(of named) (first bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first = !u.taken[of]
	u.taken[of] = true
	return first
}

func newTally() tally {
	return tally{taken: make(map[named]*seen), last: make(map[string]int)}
}

// wants is with which QoS a message comes, if it does.
func (s *subscriber) wants(m *message) (qos byte, wanted bool) {
	for _, f := range s.filters {
		filter := f.Filter
		if _, rest, ok := topics.ParseShared(filter); ok {
			filter = rest
		}
		if topics.Match(filter, m.topic) {
			qos, wanted = max(qos, min(f.Options, m.qos)), true
		}
	}
	return qos, wanted
}

// subscribe makes the subscriptions on the present connection.
func (s *subscriber) subscribe(ctx context.Context) error {
	c := s.c
	c.link.out = mqttest.AppendSubscribe(c.link.out, c.opts.Version, 1, nil, s.filters)
	c.link.flush()
	select {
	case k := <-c.link.packets:
		_, g, err := k.Granted(c.opts.Version)
		if err != nil || k.Type() != mqttest.SUBACK {
			return fmt.Errorf("%v instead of SUBACK: %w", k, err)
		}
		for i, code := range g.Codes {
			if code != s.filters[i].Options {
				return fmt.Errorf("SUBACK %#02x for %s", code, s.filters[i].Filter)
			}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *subscriber) begin() {
	s.open, s.held = make(map[uint16]bool), nil
}

func (s *subscriber) packet(k mqttest.Packet) {
	switch k.Type() {
	case mqttest.PUBLISH:
		m, err := k.Message(s.c.opts.Version)
		if err != nil {
			s.c.wrong(err.Error(), event{What: k.String()})
			return
		}
		s.onPublish(m)
	case mqttest.PUBREL:
		a, err := k.Ack(s.c.opts.Version)
		if err != nil {
			s.c.wrong(err.Error(), event{What: k.String()})
			return
		}
		s.c.note(event{What: "PUBREL", ID: a.ID, Code: a.Code, Text: s.known[a.ID]})
		if a.Code != 0 { // it knows nothing of our PUBREC, which we sent to a message of this connection
			s.c.wrong("does not know the delivery", event{What: "PUBREL", ID: a.ID, Code: a.Code})
		}
		s.due(heldAck{mqttest.PUBCOMP, a.ID})
	default:
		s.c.wrong("not expected", event{What: k.String()})
	}
}

func (s *subscriber) onPublish(m *mqttest.Message) {
	of, number, _ := strings.Cut(string(m.Payload), " ")
	n, err := strconv.Atoi(number)
	e := event{What: "PUBLISH in", Of: of, N: n, ID: m.ID, QoS: m.QoS, Dup: m.Dup, Text: string(m.Topic)}
	if err != nil {
		s.c.wrong("not one of ours", e)
		return
	}
	before, known := s.known[m.ID]
	switch {
	case m.QoS == 0:
		s.c.wrong("lost its QoS", e)
		return
	case s.open[m.ID]:
		s.c.wrong("the identifier is in use on this connection", e)
	case m.Dup && s.c.conns == 1:
		s.c.wrong("DUP without an earlier connection", e)
	}
	s.open[m.ID] = true
	if s.max > 0 && len(s.open) > s.max {
		s.c.wrong(fmt.Sprintf("%d in flight, more than Receive Maximum", len(s.open)), e)
	}
	if known { // not taken again
		s.c.note(e)
		if m.QoS != 2 || before != string(m.Payload) {
			s.c.wrong("has the identifier of "+before+", which is not released", e)
		}
		if !m.Dup {
			s.c.wrong("sent again without DUP", e)
		}
		s.due(heldAck{mqttest.PUBREC, m.ID})
		return
	}
	s.c.note(e)
	s.take(m, e)
	if m.QoS == 2 {
		s.known[m.ID] = string(m.Payload)
		s.due(heldAck{mqttest.PUBREC, m.ID})
		return
	}
	s.due(heldAck{mqttest.PUBACK, m.ID})
}

// take gives a message to the application.
func (s *subscriber) take(m *mqttest.Message, e event) {
	if s.c.away {
		s.checkQueue(m, e)
	}
	if what := s.tally.add(named{e.Of, e.N}, m.QoS, m.Dup, s.c.conns); what != "" {
		s.c.wrong(what, e)
	}
}

// checkQueue holds what comes to the absent subscriber against the limit of its queue. Where the oldest message goes, what
// is missing must have had that many behind it, and what comes fewer.
func (s *subscriber) checkQueue(m *mqttest.Message, e event) {
	p, limit := s.c.w.flood, int64(queueLimit)
	last, here := int64(s.last[p.c.name]), int64(e.N)
	if s.c.w.refuses || here <= last {
		return
	}
	if here > last+1 && p.sends.Load()-(here-1) < limit {
		s.c.wrong(fmt.Sprintf("%d and on are missing although the queue was not full", last+1), e)
	}
	if !m.Dup && s.c.waiting-here >= limit {
		s.c.wrong(fmt.Sprintf("%d were waiting, more than the queue may hold", s.c.waiting-here+1), e)
	}
}

// add notes that a message has come, and returns what is wrong with that.
func (t *tally) add(of named, qos byte, dup bool, conn int) (wrong string) {
	a := t.taken[of]
	first := a == nil
	if first {
		a = &seen{}
		t.taken[of] = a
		if t.pair == nil || t.pair.add(of) {
			t.distinct.Add(1)
		}
		t.latest.Store(int64(of.n))
		switch last := t.last[of.publisher]; {
		case of.n >= last:
		case t.loose && (qos == 1 || t.pair == nil):
			a.behind = last
		default:
			wrong = fmt.Sprintf("behind %d", last)
		}
		t.last[of.publisher] = max(t.last[of.publisher], of.n)
	}
	if qos == 2 && !first {
		wrong = fmt.Sprintf("comes again, on connection %d before", a.conn)
	}
	if a.conn != conn {
		a.conn, a.here = conn, 0
	}
	a.here++
	a.most = max(a.most, a.here)
	a.times++
	if !dup {
		a.fresh++
	}
	return wrong
}

// due sends an acknowledgement, or holds it back.
func (s *subscriber) due(a heldAck) {
	s.held = append(s.held, a)
	if !s.lazy {
		s.release()
	}
}

// release sends what is held back, in order [MQTT-4.6.0-2].
func (s *subscriber) release() {
	for _, a := range s.held {
		s.c.note(event{What: [...]string{"PUBACK", "PUBREC", "", "PUBCOMP"}[a.kind-mqttest.PUBACK] + " out", ID: a.id})
		if a.kind != mqttest.PUBREC {
			delete(s.open, a.id)
		}
		if a.kind == mqttest.PUBCOMP {
			delete(s.known, a.id)
		}
		s.c.send(a.kind, a.id)
	}
	s.held = s.held[:0]
}

func (s *subscriber) step(bool) {
	if s.lazy && (s.c.rng.IntN(3) == 0 || !s.c.w.rough.Load()) {
		s.release()
	}
}

func (s *subscriber) rest() { s.release() }

// highs shows how far a tally has come.
func (t *tally) highs() string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(t.last)) {
		fmt.Fprintf(&b, " %s:%d", p, t.last[p])
	}
	return b.String()
}
