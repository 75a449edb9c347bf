package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Setting is what a record does not tell by itself.
type Setting struct {
	Members map[string][]string // chat → users, members from seq 1 to the end
	Devices map[string][]string // user → devices whose inbox existed before the first send
	// Redelivery is how much of what a device acked just before a crash may come again (the server's promise).
	Redelivery time.Duration
	// Transit is how long a PUBACK may be on its way, and is lost if the connection is cut or the server dies meanwhile.
	Transit time.Duration
}

// Violation is one broken promise. Events are indices into the record, in order.
type Violation struct {
	Rule   string // I1 … I8
	Text   string
	Events []int
}

// String is the violation in one line.
func (v Violation) String() string { return fmt.Sprintf("%s: %s %v", v.Rule, v.Text, v.Events) }

// Check returns what the record shows to be broken, sorted by rule; nil if it keeps every promise.
func Check(events []Event, s Setting) []Violation {
	c := &checker{Setting: s, events: events}
	c.index()
	c.checkLog()
	c.checkSends()
	c.checkReach()
	c.checkOrder()
	c.checkReceipts()
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Rule, b.Rule) })
	return c.found
}

// place is where an entry stands.
type place struct {
	chat string
	seq  int64
}

// login names a device among all users'.
type login struct{ user, device string }

// message is what the record says of one message of a client, over all its sends.
type message struct {
	user, device, chat string
	first              int // index of the first Send
	acked              int // index of the first Ack, -1 if none
	refused            int // index of the first Refused, -1 if none
	seqs               []int64
	seqAt              []int // for each of seqs, the event that told
}

// fact is what was first said of a place.
type fact struct {
	event    int
	id, from string
	msg      string
}

// checker holds the record's index while Check runs.
type checker struct {
	Setting
	events   []Event
	messages map[string]*message
	order    []string // keys of messages, by first Send
	facts    map[place]*fact
	log      map[place]int           // Entry events
	heads    map[string]int64        // chat → highest seq of its Entry events
	acked    map[login]map[place]int // first Acked of each device
	found    []Violation
}

func (c *checker) report(rule string, events []int, format string, args ...any) {
	c.found = append(c.found, Violation{rule, fmt.Sprintf(format, args...), events})
}

func (c *checker) index() {
	c.messages = make(map[string]*message)
	c.facts = make(map[place]*fact)
	c.log = make(map[place]int)
	c.heads = make(map[string]int64)
	c.acked = make(map[login]map[place]int)
	for i, e := range c.events {
		switch e.Kind {
		case Send:
			c.indexSend(i, e)
		case Ack, Refused:
			c.indexAnswer(i, e)
		case Deliver:
			c.learn(i, e)
		case Entry:
			c.learn(i, e)
			c.log[place{e.Chat, e.Seq}] = i
			c.heads[e.Chat] = max(c.heads[e.Chat], e.Seq)
		case Acked:
			dev := login{e.User, e.Device}
			if c.acked[dev] == nil {
				c.acked[dev] = make(map[place]int)
			}
			if _, again := c.acked[dev][place{e.Chat, e.Seq}]; !again {
				c.acked[dev][place{e.Chat, e.Seq}] = i
			}
		}
	}
}

func (c *checker) indexSend(i int, e Event) {
	if c.messages[e.Msg] == nil {
		c.messages[e.Msg] = &message{user: e.User, device: e.Device, chat: e.Chat, first: i, acked: -1, refused: -1}
		c.order = append(c.order, e.Msg)
	}
}

func (c *checker) indexAnswer(i int, e Event) {
	m := c.messages[e.Msg]
	switch {
	case m == nil:
		c.report("I1", []int{i}, "%v for %q, which was never sent", e.Kind, e.Msg)
	case e.Kind == Refused && m.refused < 0:
		m.refused = i
	case e.Kind == Ack && m.acked < 0:
		m.acked = i
	}
	if e.Kind == Ack && e.Seq > 0 {
		e.From = e.User
		c.learn(i, e)
	}
}

// learn compares what event i says of a place with what was said before, and notes the seq of a client's message.
func (c *checker) learn(i int, e Event) {
	p := place{e.Chat, e.Seq}
	f := c.facts[p]
	if f == nil {
		f = &fact{i, e.ID, e.From, e.Msg}
		c.facts[p] = f
	}
	if f.id != e.ID || f.from != e.From || f.msg != e.Msg {
		c.report("I2", []int{f.event, i}, "%s %d is two entries: %s by %s %q, and %s by %s %q",
			e.Chat, e.Seq, f.id, f.from, f.msg, e.ID, e.From, e.Msg)
	}
	if m := c.messages[e.Msg]; m != nil && e.Msg != "" && !slices.Contains(m.seqs, e.Seq) {
		m.seqs = append(m.seqs, e.Seq)
		m.seqAt = append(m.seqAt, i)
	}
}

// devicesOf lists the devices that must get everything of a chat.
func (c *checker) devicesOf(chat string) []login {
	var all []login
	for _, u := range c.Members[chat] {
		for _, d := range c.Devices[u] {
			all = append(all, login{u, d})
		}
	}
	return all
}
