package history

import "time"

// stream is a chat as one device gets it.
type stream struct {
	dev  login
	chat string
}

// checkOrder verifies what each device got (I4): per connection in ascending order, new entries in ascending order over
// all connections, and acked ones again only where their PUBACK may have been lost.
func (c *checker) checkOrder() {
	type link struct {
		stream
		conn int
	}
	onLink := make(map[link]int)   // → last Deliver
	newest := make(map[stream]int) // → Deliver of the highest seq
	acks := make(map[login]map[place]int)
	ends, begins := c.connectionEnds(), c.connectionBegins()
	for i, e := range c.events {
		dev := login{e.User, e.Device}
		p := place{e.Chat, e.Seq}
		switch e.Kind {
		case Deliver:
			s := stream{dev, e.Chat}
			if last, ok := onLink[link{s, e.Conn}]; ok && c.events[last].Seq >= e.Seq {
				c.report("I4", []int{last, i}, "%s %s got %s %d after %d on one connection", e.User, e.Device, e.Chat, e.Seq, c.events[last].Seq)
			}
			onLink[link{s, e.Conn}] = i
			c.checkFirst(i, newest, s)
			if m := c.messages[e.Msg]; m != nil && dev == (login{m.user, m.device}) {
				c.report("I4", []int{m.first, i}, "%s %s got its own message %s %d", e.User, e.Device, e.Chat, e.Seq)
			}
			if a, ok := acks[dev][p]; ok {
				c.checkAgain(a, i, begins, ends)
			}
		case Acked:
			if acks[dev] == nil {
				acks[dev] = make(map[place]int)
			}
			acks[dev][p] = i // the latest one
		}
	}
}

// checkFirst reports an entry that comes for the first time behind a later one.
func (c *checker) checkFirst(i int, newest map[stream]int, s stream) {
	e := c.events[i]
	top, ok := newest[s]
	if !ok || c.events[top].Seq < e.Seq {
		newest[s] = i
		return
	}
	if !c.cameBefore(i) {
		c.report("I4", []int{top, i}, "%s %s got %s %d for the first time after %d", e.User, e.Device, e.Chat, e.Seq, c.events[top].Seq)
	}
}

// cameBefore says whether the delivery at i is a repetition. Repetitions are rare and close, so it just looks back.
func (c *checker) cameBefore(i int) bool {
	e := c.events[i]
	for j := i - 1; j >= 0; j-- {
		b := c.events[j]
		if b.Kind == Deliver && b.Seq == e.Seq && b.Device == e.Device && b.User == e.User && b.Chat == e.Chat {
			return true
		}
	}
	return false
}

// connection is one of a device's network connections.
type connection struct {
	dev  login
	conn int
}

// connectionEnds maps each connection to the event that ended it on the device's side.
func (c *checker) connectionEnds() map[connection]int {
	ends := make(map[connection]int)
	for i, e := range c.events {
		if e.Kind == Close || e.Kind == Cut {
			ends[connection{login{e.User, e.Device}, e.Conn}] = i
		}
	}
	return ends
}

// connectionBegins maps each connection to the event that tells of its start, where the record has one.
func (c *checker) connectionBegins() map[connection]int {
	begins := make(map[connection]int)
	for i, e := range c.events {
		if e.Kind == Connect {
			begins[connection{login{e.User, e.Device}, e.Conn}] = i
		}
	}
	return begins
}

// inVain says whether the PUBACK at a was written on a connection whose server had died by then: what was on its way to
// the device can be read for a while longer.
func (c *checker) inVain(a int, begins map[connection]int) bool {
	ack := c.events[a]
	begin, known := begins[connection{login{ack.User, ack.Device}, ack.Conn}]
	if !known {
		return false
	}
	for j := a - 1; j > begin; j-- {
		if c.events[j].Kind == Crash {
			return true
		}
	}
	return false
}

// checkAgain judges a delivery at i of an entry whose PUBACK the device had sent at a.
func (c *checker) checkAgain(a, i int, begins, ends map[connection]int) {
	ack, e := c.events[a], c.events[i]
	if ack.Conn == e.Conn {
		c.report("I4", []int{a, i}, "%s %s got %s %d again on the connection on which it acked it", e.User, e.Device, e.Chat, e.Seq)
		return
	}
	excused := false
	if end, ok := ends[connection{login{ack.User, ack.Device}, ack.Conn}]; ok && end > a && end < i && c.events[end].Kind == Cut {
		excused = c.events[end].At-ack.At <= c.Transit
	}
	if !excused && !c.crashSoonAfter(a, i) && !c.inVain(a, begins) {
		c.report("I4", []int{a, i}, "%s %s got %s %d again, %v after its PUBACK", e.User, e.Device, e.Chat, e.Seq, (e.At - ack.At).Round(time.Millisecond))
		return
	}
	if !e.Dup && !e.Clean {
		c.report("I4", []int{a, i}, "%s %s got %s %d again without DUP", e.User, e.Device, e.Chat, e.Seq)
	}
}

// crashSoonAfter says whether the server died so soon after event a, and before i, that it may have forgotten it.
func (c *checker) crashSoonAfter(a, i int) bool {
	for j := a + 1; j < i; j++ {
		if c.events[j].At-c.events[a].At > c.Redelivery+c.Transit {
			return false
		}
		if c.events[j].Kind == Crash {
			return true
		}
	}
	return false
}
