package history

import (
	"maps"
	"slices"
)

// checkLog verifies that each log is dense, holds all that anybody saw, and nothing that nobody sent (I2), in the order
// in which each device first sent it.
func (c *checker) checkLog() {
	for _, chat := range slices.Sorted(maps.Keys(c.heads)) {
		last := make(map[login]*message)
		for seq := int64(1); seq <= c.heads[chat]; seq++ {
			i, ok := c.log[place{chat, seq}]
			if !ok {
				c.report("I2", nil, "%s has no entry %d, but its head is %d", chat, seq, c.heads[chat])
				continue
			}
			c.checkEntry(i, last)
		}
	}
	for p, f := range c.facts {
		if p.seq < 1 {
			c.report("I2", []int{f.event}, "%s has an entry with seq %d", p.chat, p.seq)
		} else if _, ok := c.log[p]; !ok && p.seq > c.heads[p.chat] {
			c.report("I2", []int{f.event}, "%s %d was seen but is beyond the log's head %d", p.chat, p.seq, c.heads[p.chat])
		}
	}
}

// checkEntry looks at one entry of the log; last is the latest message of each device before it.
func (c *checker) checkEntry(i int, last map[login]*message) {
	e := c.events[i]
	if e.Msg == "" {
		return
	}
	m := c.messages[e.Msg]
	if m == nil || m.user != e.From || m.chat != e.Chat {
		c.report("I2", []int{i}, "%s %d holds %q by %s, which that user never sent there", e.Chat, e.Seq, e.Msg, e.From)
		return
	}
	if len(m.seqs) > 1 {
		return // I3 reports it; where its second copy stands says nothing
	}
	dev := login{m.user, m.device}
	if before := last[dev]; before != nil && before.first > m.first {
		c.report("I2", []int{m.first, before.first, i}, "%s %d: %s %s sent %q before what stands ahead of it",
			e.Chat, e.Seq, m.user, m.device, e.Msg)
	}
	last[dev] = m
}

// checkSends verifies that one message has one seq (I3) and that a refusal means "not stored" (I8).
func (c *checker) checkSends() {
	type sender struct{ user, chat, cid string }
	cids := make(map[sender]int) // → index of the Ack that told the first seq
	for _, key := range c.order {
		m := c.messages[key]
		if len(m.seqs) > 1 {
			c.report("I3", m.seqAt, "%q of %s has the seqs %v in %s", key, m.user, m.seqs, m.chat)
		}
		if m.refused >= 0 && m.acked < 0 && len(m.seqs) > 0 {
			c.report("I8", []int{m.refused, m.seqAt[0]}, "%q of %s was refused but is entry %d of %s", key, m.user, m.seqs[0], m.chat)
		}
	}
	for i, e := range c.events {
		if e.Kind != Ack || e.CID == "" || e.Seq == 0 {
			continue
		}
		k := sender{e.User, e.Chat, e.CID}
		if first, ok := cids[k]; !ok {
			cids[k] = i
		} else if c.events[first].Seq != e.Seq {
			c.report("I3", []int{first, i}, "cid %q of %s got seq %d and then %d in %s", e.CID, e.User, c.events[first].Seq, e.Seq, e.Chat)
		}
	}
}

// checkReach verifies that what was acked is stored and came to every device that must have it (I1), and that system
// entries came to everybody but who caused them.
func (c *checker) checkReach() {
	for _, key := range c.order {
		m := c.messages[key]
		if m.acked < 0 {
			continue
		}
		if len(m.seqs) == 0 {
			c.report("I1", []int{m.first, m.acked}, "%q of %s was acked but is in no log and came to nobody", key, m.user)
			continue
		}
		p := place{m.chat, m.seqs[0]}
		if _, ok := c.log[p]; !ok {
			c.report("I1", []int{m.acked}, "%q of %s was acked as entry %d, which is not in the log of %s", key, m.user, p.seq, p.chat)
		}
		for _, dev := range c.devicesOf(m.chat) {
			if dev != (login{m.user, m.device}) {
				c.checkReached(dev, p, m.acked)
			}
		}
	}
	for p, i := range c.log {
		if c.events[i].Msg != "" {
			continue
		}
		for _, dev := range c.devicesOf(p.chat) {
			if dev.user != c.events[i].From {
				c.checkReached(dev, p, i)
			}
		}
	}
}

// checkReached: a device that got an entry but could not ack it must get it again, so in the end it has acked it.
func (c *checker) checkReached(dev login, p place, because int) {
	if _, ok := c.acked[dev][p]; !ok {
		c.report("I1", []int{because}, "%s %s never acked %s %d: it did not come, or not again after a lost ack",
			dev.user, dev.device, p.chat, p.seq)
	}
}
