package crash_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tidings/internal/history"
	"tidings/internal/mqttest"
)

const (
	inFlight = 32  // unacked publishes of a device
	lastID   = 200 // packet identifiers wrap early, so that each is used again and again
)

// chatOf is the record's name of a chat that user sees as topic.
func chatOf(user, topic string) string {
	if peer, ok := strings.CutPrefix(topic, "u/"); ok {
		return history.DirectChat(user, peer)
	}
	return topic
}

// pickTopic chooses where to write.
func (d *device) pickTopic() string {
	if d.rng.IntN(3) > 0 {
		for {
			if peer := users[d.rng.IntN(len(users))]; peer != d.login.User {
				return "u/" + peer
			}
		}
	}
	var mine []string
	for name, members := range groups {
		if slices.Contains(members, d.login.User) {
			mine = append(mine, "g/"+name)
		}
	}
	slices.Sort(mine)
	return mine[d.rng.IntN(len(mine))]
}

// sendSome publishes n new messages with one write, as far as the window allows.
func (d *device) sendSome(n int) {
	d.mu.Lock()
	for range n {
		if len(d.pending) >= inFlight {
			break
		}
		d.count++
		o := &outgoing{topic: d.pickTopic(), msg: fmt.Sprintf("%s-%s-%d", d.login.User, d.login.Device, d.count)}
		o.chat = chatOf(d.login.User, o.topic)
		o.payload = []byte(o.msg)
		if d.profile.cid {
			o.cid = "c-" + o.msg
			o.payload = fmt.Appendf(nil, `{"cid":%q,"body":%q}`, o.cid, o.msg)
		}
		d.pending = append(d.pending, o)
		o.id = d.freeIDLocked()
		d.queueLocked(o, false)
	}
	d.mu.Unlock()
	d.client.Flush()
}

func (d *device) queueLocked(o *outgoing, dup bool) {
	e := d.event(history.Send)
	e.Chat, e.Msg, e.CID, e.Dup = o.chat, o.msg, o.cid, dup
	d.w.rec.Add(e)
	d.client.Queue(&mqttest.Publish{Topic: o.topic, Payload: o.payload, QoS: 1, ID: o.id, Dup: dup})
}

// freeIDLocked returns a packet identifier that no unacked publish uses.
func (d *device) freeIDLocked() uint16 {
	for {
		d.lastID = d.lastID%lastID + 1
		if !slices.ContainsFunc(d.pending, func(o *outgoing) bool { return o.id == d.lastID }) {
			return d.lastID
		}
	}
}

// resend sends what is not acked again, oldest first, as this kind of client does.
func (d *device) resend() {
	d.mu.Lock()
	if d.profile.clean && !d.profile.cid {
		d.pending = nil // its state is gone with the session, and it has nothing else to know its messages by
	}
	for _, o := range d.pending {
		if d.profile.freshIDs {
			o.id = d.freeIDLocked()
		}
		d.queueLocked(o, !d.profile.freshIDs)
	}
	d.mu.Unlock()
	d.client.Flush()
}

// onAck runs on the reader.
func (d *device) onAck(conn int, a *mqttest.Ack) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if conn != d.conn || !d.counts {
		return
	}
	i := slices.IndexFunc(d.pending, func(o *outgoing) bool { return o.id == a.ID })
	if i < 0 {
		d.w.t.Errorf("%v: PUBACK for packet identifier %d, which is not in flight", d, a.ID)
		return
	}
	o := d.pending[i]
	d.pending = slices.Delete(d.pending, i, i+1)
	e := d.event(history.Ack)
	e.Chat, e.Msg, e.CID = o.chat, o.msg, o.cid
	if a.Code >= 0x80 || d.refusing {
		e.Kind = history.Refused
		d.refusing = false
	}
	if p, err := a.Properties(); err != nil {
		d.w.t.Errorf("%v: PUBACK properties: %v", d, err)
	} else if seq := p.UserValue("seq"); seq != "" && e.Kind == history.Ack {
		e.Seq, _ = strconv.ParseInt(seq, 10, 64)
		e.ID = p.UserValue("id")
	}
	if d.profile.version == mqttest.V5 && e.Kind == history.Ack && e.Seq == 0 {
		d.w.t.Errorf("%v: PUBACK without seq", d)
	}
	d.w.rec.Add(e)
}

// envelope is the part of a delivery or log entry that counts here.
type envelope struct {
	ID     string          `json:"id"`
	Chat   string          `json:"chat"`
	Seq    int64           `json:"seq"`
	From   string          `json:"from"`
	Device string          `json:"device"`
	Type   string          `json:"type"`
	Body   json.RawMessage `json:"body"`
}

// msg is the name of the message that the envelope holds, "" for a system entry.
func (e *envelope) msg() string {
	var text string
	if strings.HasPrefix(e.Type, "sys.") || json.Unmarshal(e.Body, &text) != nil {
		return ""
	}
	return text
}

// onMessage runs on the reader.
func (d *device) onMessage(c *mqttest.Client, conn int, m *mqttest.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if conn != d.conn || !d.counts {
		return
	}
	rest, own := strings.CutPrefix(string(m.Topic), "u/"+d.login.User)
	switch {
	case rest == "/receipts":
		d.onReceiptLocked(m.Payload)
	case rest == "/sent":
		d.onSentLocked(m.Payload)
	case own && rest == "" || strings.Count(string(m.Topic), "/") == 1 && strings.HasPrefix(string(m.Topic), "g/"):
		d.onEnvelopeLocked(c, m)
		return
	}
	if m.QoS > 0 {
		c.QueueAck(m.ID, 0)
	}
}

func (d *device) onEnvelopeLocked(c *mqttest.Client, m *mqttest.Message) {
	var env envelope
	if err := json.Unmarshal(m.Payload, &env); err != nil {
		d.w.t.Errorf("%v: envelope %q: %v", d, m.Payload, err)
		return
	}
	e := d.event(history.Deliver)
	e.Chat, e.Seq, e.ID, e.From, e.Msg, e.Dup = chatOf(d.login.User, env.Chat), env.Seq, env.ID, env.From, env.msg(), m.Dup
	d.w.rec.Add(e)
	d.highest[env.Chat] = max(d.highest[env.Chat], env.Seq)
	in := incoming{m.ID, e.Chat, e.Seq}
	if d.profile.lazyAcks {
		d.held = append(d.held, in)
		return
	}
	d.ackLocked(c, in)
}

func (d *device) ackLocked(c *mqttest.Client, in incoming) {
	e := d.event(history.Acked)
	e.Chat, e.Seq = in.chat, in.seq
	d.w.rec.Add(e)
	d.acked[entryKey{in.chat, in.seq}] = true
	c.QueueAck(in.id, 0)
}

// flushHeld sends the PUBACKs that were held back.
func (d *device) flushHeld() {
	d.mu.Lock()
	held := d.held
	d.held = nil
	if d.profile.mixedAcks {
		d.rng.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
	}
	for _, in := range held {
		d.ackLocked(d.client, in)
	}
	d.mu.Unlock()
	if len(held) > 0 {
		d.client.Flush()
	}
}

// onReceiptLocked records watermarks, be it one or a list of them.
func (d *device) onReceiptLocked(payload []byte) {
	type watermark struct {
		Chat, User      string
		Delivered, Read int64
	}
	var list []watermark
	var one watermark
	if json.Unmarshal(payload, &list) != nil {
		if err := json.Unmarshal(payload, &one); err != nil {
			d.w.t.Errorf("%v: receipt %q: %v", d, payload, err)
			return
		}
		list = append(list, one)
	}
	for _, r := range list {
		e := d.event(history.Receipt)
		e.Chat, e.Member, e.Delivered, e.ReadUpTo = chatOf(d.login.User, r.Chat), r.User, r.Delivered, r.Read
		d.w.rec.Add(e)
	}
}

// onSentLocked: `sent` tells MQTT 3.1.1 clients what a PUBACK cannot.
func (d *device) onSentLocked(payload []byte) {
	var s struct {
		CID, Chat, ID string
		Seq           int64
		Error         json.RawMessage
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		d.w.t.Errorf("%v: sent %q: %v", d, payload, err)
		return
	}
	if s.Error != nil {
		d.refusing = d.profile.version == mqttest.V311
		return
	}
	msg, ok := strings.CutPrefix(s.CID, "c-")
	if !ok {
		return
	}
	e := d.event(history.Ack)
	e.Chat, e.Msg, e.CID, e.Seq, e.ID = chatOf(d.login.User, s.Chat), msg, s.CID, s.Seq, s.ID
	d.w.rec.Add(e)
}

// sayRead says of one chat that everything received so far is read.
func (d *device) sayRead() {
	d.mu.Lock()
	topics := make([]string, 0, len(d.highest))
	for t := range d.highest {
		topics = append(topics, t)
	}
	if len(topics) > 0 {
		slices.Sort(topics)
		topic := topics[d.rng.IntN(len(topics))]
		e := d.event(history.Read)
		e.Chat, e.Seq = chatOf(d.login.User, topic), d.highest[topic]
		d.w.rec.Add(e)
		d.client.Queue(&mqttest.Publish{Topic: topic + "/read", Payload: fmt.Appendf(nil, `{"seq":%d}`, e.Seq)})
	}
	d.mu.Unlock()
	d.client.Flush()
}

// settled says whether all publishes are acked and all deliveries of want, if not the device's own, are acked by it.
func (d *device) settled(want map[entryKey]envelope) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) > 0 || len(d.held) > 0 {
		return false
	}
	for k, env := range want {
		own := env.From == d.login.User && (env.msg() == "" || env.Device == d.login.Device)
		if !own && d.w.isMember(k.chat, d.login.User) && !d.acked[k] {
			return false
		}
	}
	return true
}
