package scenario

import (
	"sync"
	"sync/atomic"
	"time"

	"tidings/bench/hist"
	"tidings/bench/target"
	"tidings/internal/mqttest"
)

// ring is how many publishes a member can have in flight; packet identifiers 1 … ring are used in turn.
const ring = 1024

// epoch is the zero of all stamps.
var epoch = time.Now()

func now() int64 { return int64(time.Since(epoch)) }

// counters are what the whole fleet has seen. Histograms are swapped at the start of each measured phase.
type counters struct {
	closed  atomic.Bool  // closed loop: each PUBACK is answered with the next publish
	budget  atomic.Int64 // publishes that the closed loop may still make
	sent    atomic.Int64
	acked   atomic.Int64
	refused atomic.Int64 // PUBACKs with a reason code ≥ 0x80
	arrived atomic.Int64
	doubled atomic.Int64
	late    atomic.Int64 // arrived behind a later one of the same sender
	other   atomic.Int64 // deliveries without a stamp: receipts, sent, system entries
	skipped atomic.Int64 // paced publishes not made because the ring was full
	e2e     atomic.Pointer[hist.Histogram]
	ack     atomic.Pointer[hist.Histogram]
	last    atomic.Pointer[hist.Histogram] // publish → last of fanOut receivers
	crash   crashes
}

func (c *counters) reset() {
	c.e2e.Store(new(hist.Histogram))
	c.ack.Store(new(hist.Histogram))
	c.last.Store(new(hist.Histogram))
}

// member is one device: sender, receiver or both. mu guards what sends; got belongs to the connection's reader.
type member struct {
	*counters
	all    []*member // the fleet, by index
	login  target.Login
	index  uint32
	topics []string // where it publishes, in turn
	fanOut int32    // receivers of each of its messages
	client *mqttest.Client

	mu     sync.Mutex
	body   []byte
	seq    uint32
	id     uint16
	sentAt []int64 // by identifier - 1; 0 where nothing is in flight; made with the first publish

	reached []atomic.Int32       // by seq % ring: receivers that have the message; only where the last one is measured
	got     map[uint32]*arrivals // by sender
	diary   *diary               // nil unless the server is going to be killed
}

// arrivals is what has come of one sender's messages.
type arrivals struct {
	last    uint32              // highest seq
	missing map[uint32]struct{} // below it, not here yet
}

// take says whether seq is new and whether it comes behind a later one.
func (a *arrivals) take(seq uint32) (isNew, late bool) {
	if seq <= a.last {
		_, isNew = a.missing[seq]
		delete(a.missing, seq)
		return isNew, isNew
	}
	for n := a.last + 1; n < seq; n++ {
		if a.missing == nil {
			a.missing = make(map[uint32]struct{})
		}
		a.missing[n] = struct{}{}
	}
	a.last = seq
	return true, false
}

// onMessage runs on the reader.
func (m *member) onMessage(_ *mqttest.Client, msg *mqttest.Message) {
	s, ok := findStamp(msg.Payload)
	if !ok {
		m.other.Add(1)
		return
	}
	t := now()
	m.e2e.Load().Record(time.Duration(t - s.at))
	from := m.got[s.sender]
	if from == nil {
		from = new(arrivals)
		m.got[s.sender] = from
	}
	isNew, late := from.take(s.seq)
	if late {
		m.late.Add(1)
	}
	if !isNew {
		m.doubled.Add(1)
		m.diary.again(&m.counters.crash, s.seq)
		return
	}
	m.diary.received(s.seq, t)
	m.arrived.Add(1)
	if by := m.all[s.sender]; by.reached != nil && by.reached[s.seq%ring].Add(1) == by.fanOut {
		by.reached[s.seq%ring].Store(0)
		m.last.Load().Record(time.Duration(t - s.at))
	}
}

// onAck runs on the reader; what it queues leaves with the flush at the end of the read.
func (m *member) onAck(c *mqttest.Client, a *mqttest.Ack) {
	m.acked.Add(1)
	if a.Code >= 0x80 {
		m.refused.Add(1)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.ID == 0 || int(a.ID) > len(m.sentAt) {
		return
	}
	if at := m.sentAt[a.ID-1]; at != 0 {
		m.ack.Load().Record(time.Duration(now() - at))
	}
	m.sentAt[a.ID-1] = 0
	m.diary.answered(a)
	if m.closed.Load() && m.budget.Add(-1) >= 0 {
		m.queueLocked(c)
	}
}

// queueLocked queues the member's next message; false if the ring is full.
func (m *member) queueLocked(c *mqttest.Client) bool {
	if m.sentAt == nil {
		m.sentAt = make([]int64, ring)
	}
	next := m.id%ring + 1
	if m.sentAt[next-1] != 0 {
		m.skipped.Add(1)
		return false
	}
	m.id = next
	m.seq++
	t := now()
	m.sentAt[m.id-1] = t
	stamp{t, m.index, m.seq}.put(m.body)
	text(m.body, m.seq+m.index*31)
	// Each topic has its own count where one member publishes to many: a receiver sees only its share.
	topic := m.topics[0]
	if n := uint32(len(m.topics)); n > 1 {
		topic = m.topics[(m.seq-1)%n]
		stamp{t, m.index, (m.seq-1)/n + 1}.put(m.body)
	}
	m.sent.Add(1)
	m.diary.sent(m.id, m.seq)
	return c.Queue(&mqttest.Publish{Topic: topic, Payload: m.body, QoS: 1, ID: m.id}) == nil
}

// send publishes n messages with one write.
func (m *member) send(n int) {
	m.mu.Lock()
	for range n {
		m.queueLocked(m.client)
	}
	m.mu.Unlock()
	_ = m.client.Flush() // a broken connection shows in what does not come back
}

// offer publishes as many of n messages as the ring takes, with one write; the others count as skipped. It blocks while the
// connection takes nothing.
func (m *member) offer(n int) {
	m.mu.Lock()
	for left := n; left > 0; left-- {
		if !m.queueLocked(m.client) {
			m.skipped.Add(int64(left - 1))
			break
		}
	}
	m.mu.Unlock()
	_ = m.client.Flush() // a broken connection shows in what does not come back
}
