package delivery

import (
	"slices"
	"time"
)

// match finds the receivers of an item, and makes it the retained message of its
// topic if it is to be.
func (c *committer) match(b *batch, it *item) {
	o, of := c.e.open, it.open
	it.time = time.Now().UnixMilli()
	if of.to != nil {
		if o.stillAsked(of.to, of.job.m) {
			of.targets = append(of.targets, target{sub: of.to, manner: of.job.manner})
		}
		return
	}
	topic := b.bytes(it, it.topic)
	if of.retain {
		o.mu.Lock()
		defer o.mu.Unlock()
		if it.refusal = c.retain(b, it, topic); it.refusal != nil {
			return
		}
	} else {
		o.mu.RLock()
		defer o.mu.RUnlock()
	}
	if len(c.seen) > maxIdleTargets {
		c.seen = make(map[*subscriber]int)
	}
	clear(c.seen)
	o.filters.Match(topic, func(sub *subscriber, w openWant) {
		if !(w.noLocal && it.publisher(sub)) && c.mayRead(sub, topic) {
			c.addTarget(of, sub, it.mannerOf(w))
		}
	})
	o.shared.Match(topic, func(sh *share, _ struct{}) {
		if m := sh.choose(it.qos, func(s *subscriber) bool { return c.mayRead(s, topic) }); m != nil {
			of.targets = append(of.targets, target{sub: m.s, manner: it.mannerOf(m.w)})
		}
	})
}

// mayRead tells whether a subscriber may see what is published on a topic that
// one of its filters matches.
func (c *committer) mayRead(s *subscriber, topic []byte) bool {
	return !s.shut.Load() && s.access.mayRead(topic) && c.e.open.names(&s.id).Has(topic)
}

// fewTargets is up to how many receivers are looked through one by one.
const fewTargets = 16

// addTarget adds a receiver, or merges one more of its filters into its delivery: one
// delivery, at the highest QoS, with every identifier [MQTT-3.3.4-2, MQTT-3.3.4-3].
func (c *committer) addTarget(of *openItem, sub *subscriber, m manner) {
	n := len(of.targets)
	at := slices.IndexFunc(of.targets[:min(n, fewTargets)], func(t target) bool { return t.sub == sub })
	if i, there := c.seen[sub]; at < 0 && there {
		at = i
	}
	if at >= 0 {
		t := &of.targets[at]
		t.qos, t.retain, t.ids = max(t.qos, m.qos), t.retain || m.retain, append(t.ids, m.ids...)
		return
	}
	if n >= fewTargets {
		c.seen[sub] = n
	}
	of.targets = append(of.targets, target{sub: sub, manner: m})
}

func (it *item) mannerOf(w openWant) manner {
	m := manner{qos: min(it.qos, w.qos), retain: it.open.retain && w.asPublished}
	if w.id != 0 {
		m.ids = []uint32{w.id}
	}
	return m
}

// publisher tells whether the item was published by this very subscriber, be it on
// an earlier connection.
func (it *item) publisher(sub *subscriber) bool {
	from := it.post
	switch {
	case it.s == nil:
		return from.from.Device != 0 && from.from.Device == sub.id.Actor.Device
	case it.s.device() != 0:
		return it.s.device() == sub.id.Actor.Device
	default:
		return it.s == sub.live.Load()
	}
}

// maxTargets is how many receivers the items of one part have, but for the last of
// them.
const maxTargets = 32 << 10

// matchSome finds the receivers of items, and returns how many items make a part.
func (c *committer) matchSome(b *batch, todo []int32) int {
	found := 0
	for n, i := range todo {
		it := &b.items[i]
		if it.kind != kindOpen {
			continue
		}
		if found >= maxTargets {
			return n
		}
		c.match(b, it)
		found += len(it.open.targets)
	}
	return len(todo)
}
