package delivery

import "slices"

// window is what a session has sent and not seen acknowledged, oldest first. Each
// delivery has a tag, from which it is found again; none is used again while its
// delivery is outstanding.
//
// Tags of chats are the next number of a circle, so that a tag is an index. Tags
// of a queue follow from the seq: so a message has the same one when it is sent
// again after a crash, by which the receiver of a QoS 2 delivery knows it.
type window struct {
	slots []slot
	start int    // first slot in use
	first uint32 // of chats: number of that slot; its tag is tagOf(first)
	again int    // deliveries, from the start, that this connection has sent (the rest are of an earlier one); -1: all
	queue bool   // of a queue
}

// slot is one delivery of a window.
type slot struct {
	p    *position
	seq  uint64
	done bool // acknowledged, but one before it is not
	mute bool // does not count as delivered: refused by the device, or cut
	step step
}

// step is which acknowledgement a delivery waits for.
type step uint8

const (
	awaitsPuback  step = iota // QoS 1
	awaitsPubrec              // QoS 2
	awaitsPubcomp             // QoS 2, once received: PUBREL is what is sent again
	awaitsStore               // QoS 2, received, which is not durable yet
)

// Tags of chats are 1 … tags, those of queues the numbers above.
const (
	tags      = 32767
	queueTags = 32768
)

func tagOf(n uint32) uint16 { return uint16(1 + n%tags) }

func queueTag(seq uint64) uint16 { return uint16(tags + 1 + seq%queueTags) }

// len returns how many deliveries are in the window.
func (w *window) len() int { return len(w.slots) - w.start }

// at returns the i-th delivery.
func (w *window) at(i int) *slot { return &w.slots[w.start+i] }

// nextTag returns the tag of the delivery that push would add with that seq.
func (w *window) nextTag(seq uint64) uint16 {
	if w.queue {
		return queueTag(seq)
	}
	return tagOf(w.first + uint32(w.len()))
}

// tagAt returns the tag of the i-th delivery.
func (w *window) tagAt(i int) uint16 {
	if w.queue {
		return queueTag(w.at(i).seq)
	}
	return tagOf(w.first + uint32(i))
}

// takes tells whether a delivery with that seq can be added.
func (w *window) takes(seq uint64) bool {
	return w.len() < maxWindow && (!w.queue || w.len() == 0 || seq-w.at(0).seq < queueTags)
}

// push adds a delivery at the end.
func (w *window) push(s slot) {
	if len(w.slots) == cap(w.slots) && w.start > 0 {
		n := copy(w.slots, w.slots[w.start:])
		clear(w.slots[n:])
		w.slots, w.start = w.slots[:n], 0
	}
	w.slots = append(w.slots, s)
}

// pop removes the first delivery.
func (w *window) pop() slot {
	s := w.slots[w.start]
	w.slots[w.start] = slot{}
	w.start++
	w.first = (w.first + 1) % tags
	if w.again > 0 {
		w.again--
	}
	if w.start == len(w.slots) {
		w.slots, w.start = w.slots[:0], 0
	}
	return s
}

// index returns where the delivery with that tag is, -1 if it is not outstanding.
func (w *window) index(tag uint16) int {
	switch {
	case tag == 0 || w.len() == 0:
		return -1
	case w.queue:
		first := w.at(0).seq
		seq := first + (uint64(tag)-uint64(queueTag(first)))%queueTags
		i, found := slices.BinarySearchFunc(w.slots[w.start:], seq, func(s slot, seq uint64) int {
			return int(int64(s.seq - seq))
		})
		if !found {
			return -1
		}
		return i
	}
	i := int((uint32(tag-1) + tags - w.first) % tags)
	if i >= w.len() {
		return -1
	}
	return i
}

// sent tells whether this connection has sent the i-th delivery.
func (w *window) sent(i int) bool { return w.again < 0 || i < w.again }

// release lets go of the memory of an empty window.
func (w *window) release() {
	if w.len() == 0 {
		w.slots, w.start = nil, 0
	}
}
