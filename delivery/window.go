package delivery

// window is what a session has sent and not seen acknowledged, oldest first. Each
// delivery has a tag, the next number of a circle of 1…65535; so a tag is an
// index, and none is used again while its delivery is outstanding.
type window struct {
	slots []slot
	start int    // first slot in use
	first uint32 // number of that slot; its tag is tagOf(first)
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
)

const tags = 65535

func tagOf(n uint32) uint16 { return uint16(1 + n%tags) }

// len returns how many deliveries are in the window.
func (w *window) len() int { return len(w.slots) - w.start }

// at returns the i-th delivery.
func (w *window) at(i int) *slot { return &w.slots[w.start+i] }

// nextTag returns the tag of the delivery that push would add.
func (w *window) nextTag() uint16 { return tagOf(w.first + uint32(w.len())) }

// tagAt returns the tag of the i-th delivery.
func (w *window) tagAt(i int) uint16 { return tagOf(w.first + uint32(i)) }

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
	if w.start == len(w.slots) {
		w.slots, w.start = w.slots[:0], 0
	}
	return s
}

// index returns where the delivery with that tag is, -1 if it is not outstanding.
func (w *window) index(tag uint16) int {
	if tag == 0 {
		return -1
	}
	i := int((uint32(tag-1) + tags - w.first) % tags)
	if i >= w.len() {
		return -1
	}
	return i
}

// release lets go of the memory of an empty window.
func (w *window) release() {
	if w.len() == 0 {
		w.slots, w.start = nil, 0
	}
}
