package history

// watched is a watermark as one device sees it.
type watched struct {
	by           login
	chat, member string
}

// progress is how far a device has got in a chat.
type progress struct {
	seq   int64 // everything up to here is acked or the user's own
	acked map[int64]bool
}

// checkReceipts verifies that watermarks only grow and are never ahead of the member's devices (I5). It walks the record
// once and holds, at each moment, what the devices had acked until then.
func (c *checker) checkReceipts() {
	type own struct{ user, chat string }
	devices := make(map[stream]*progress)
	said := make(map[own]int64)
	seen := make(map[watched]int)
	for i, e := range c.events {
		switch e.Kind {
		case Acked:
			s := stream{login{e.User, e.Device}, e.Chat}
			if devices[s] == nil {
				devices[s] = &progress{acked: make(map[int64]bool)}
			}
			devices[s].acked[e.Seq] = true
		case Read:
			k := own{e.User, e.Chat}
			said[k] = max(said[k], e.Seq)
		case Receipt:
			w := watched{login{e.User, e.Device}, e.Chat, e.Member}
			c.checkGrows(i, w, seen)
			read := said[own{e.Member, e.Chat}]
			if e.ReadUpTo > read {
				c.report("I5", []int{i}, "receipt says %s read %s up to %d; said was %d", e.Member, e.Chat, e.ReadUpTo, read)
			}
			if got := c.reached(devices, e.Member, e.Chat, e.Delivered); e.Delivered > max(got, read) {
				c.report("I5", []int{i}, "receipt says %s has %s up to %d; its devices acked up to %d and read was %d",
					e.Member, e.Chat, e.Delivered, got, read)
			}
		}
	}
}

func (c *checker) checkGrows(i int, w watched, seen map[watched]int) {
	e := c.events[i]
	if last, ok := seen[w]; ok {
		b := c.events[last]
		if e.Delivered < b.Delivered || e.ReadUpTo < b.ReadUpTo {
			c.report("I5", []int{last, i}, "%s %s saw the watermarks of %s in %s go back from %d/%d to %d/%d",
				e.User, e.Device, e.Member, e.Chat, b.Delivered, b.ReadUpTo, e.Delivered, e.ReadUpTo)
		}
	}
	seen[w] = i
}

// reached is the highest seq, at most limit, up to which one of the member's devices has everything. A member's own
// messages count as delivered to their author.
func (c *checker) reached(devices map[stream]*progress, member, chat string, limit int64) int64 {
	var best int64
	for _, d := range c.Devices[member] {
		s := stream{login{member, d}, chat}
		if devices[s] == nil {
			devices[s] = &progress{acked: make(map[int64]bool)}
		}
		p := devices[s]
		for p.seq < limit && (p.acked[p.seq+1] || c.author(chat, p.seq+1) == member) {
			p.seq++
			delete(p.acked, p.seq)
		}
		best = max(best, p.seq)
	}
	return best
}

func (c *checker) author(chat string, seq int64) string {
	if f := c.facts[place{chat, seq}]; f != nil {
		return f.from
	}
	return ""
}
