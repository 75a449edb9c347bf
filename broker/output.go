package broker

import (
	"errors"
	"os"
	"sync"
	"time"
)

// output is the outgoing half of a connection. Anybody may append under mu;
// writing is set while one goroutine, the writer, moves bytes to the network
// without holding mu. Buffers are lent: an idle connection has none.
type output struct {
	mu sync.Mutex

	next *buffer // appended to
	cur  *buffer // being written, from off on
	off  int

	writing bool // somebody is the writer
	waiting bool // cur did not fit: the network has to take more first
	retry   bool // room appeared while somebody was the writer
	hungry  bool // Deliver has answered NoRoom: Session.Writable is due
	dead    bool // the network connection is gone: nothing is written any more
	choked  bool // the input rests until most of what waits has been written

	started bool   // CONNACK has been appended
	ended   bool   // the last packet has been appended: nothing may follow
	end     ending // why, once ended
	stalled int64  // coarse time since when waiting made no progress, in ms

	// unreleased are the packet identifiers of QoS 2 publishes of this connection
	// whose PUBREL has not come, each with whether it counts as in flight. With
	// MQTT 3.1.1 that ends with the PUBREC: the PUBREL stands behind publishes that
	// the client was free to send and that have to be read first.
	unreleased map[uint16]bool

	aliases outAliases // of deliveries; its limit is fixed at CONNECT

	packets [16]uint32 // appended since the last write, by type
}

// pendingLocked is how many bytes wait for the network. mu is held.
func (o *output) pendingLocked() int {
	n := 0
	if o.cur != nil {
		n = len(o.cur.b) - o.off
	}
	if o.next != nil {
		n += len(o.next.b)
	}
	return n
}

// bufferLocked returns the buffer to append to. mu is held.
func (o *output) bufferLocked() *buffer {
	if o.next == nil {
		o.next = getBuffer()
	}
	return o.next
}

// dropLocked forgets all that waits. mu is held and nobody is the writer.
func (o *output) dropLocked() {
	for _, b := range [...]*buffer{o.cur, o.next} {
		if b != nil {
			putBuffer(b)
		}
	}
	o.cur, o.next, o.off, o.waiting = nil, nil, 0, false
}

// Flush hands what has been appended to the network, as far as it takes it at
// once. It never blocks and may be called from any goroutine.
func (c *conn) Flush() {
	o := &c.out
	o.mu.Lock()
	if o.writing || o.waiting || o.dead || o.next == nil {
		o.mu.Unlock()
		return
	}
	o.writing = true
	if !c.wire.direct() {
		o.mu.Unlock()
		c.srv.spawn(c.writeBlocking)
		return
	}
	c.writeLocked()
}

// roomAgain is called when the network takes bytes again.
func (c *conn) roomAgain() {
	o := &c.out
	o.mu.Lock()
	switch {
	case o.writing:
		o.retry = true
		o.mu.Unlock()
	case !o.waiting || o.dead:
		o.mu.Unlock()
	default:
		o.writing, o.waiting = true, false
		c.writeLocked()
	}
}

// writeLocked writes without blocking until all is written or the network takes
// no more. The caller holds mu and is the writer; neither is so on return.
func (c *conn) writeLocked() {
	o := &c.out
	for c.takeLocked() {
		b := o.cur.b[o.off:]
		o.mu.Unlock()
		n, err := c.wire.write(b)
		c.srv.counters.bytesOut.Add(uint64(n))
		o.mu.Lock()
		if err != nil {
			c.writeFailedLocked("error")
			return
		}
		if n > 0 {
			o.stalled = 0
		}
		if o.off += n; o.off < len(o.cur.b) && !o.retry {
			break
		}
		o.retry = false
	}
	full := o.cur != nil
	if full {
		o.waiting = true
		if o.stalled == 0 {
			o.stalled = c.srv.clock.now()
		}
	}
	c.writtenLocked()
	if full {
		c.wire.full()
	}
}

// takeLocked makes sure that cur has bytes to write and tells whether there are
// any. mu is held by the writer.
func (c *conn) takeLocked() bool {
	o := &c.out
	if o.dead {
		return false
	}
	if o.cur != nil && o.off == len(o.cur.b) {
		putBuffer(o.cur)
		o.cur, o.off = nil, 0
	}
	if o.cur == nil {
		o.cur, o.next, o.off = o.next, nil, 0
		for t, n := range o.packets {
			if n > 0 {
				c.srv.counters.packetsOut[t].Add(uint64(n))
				o.packets[t] = 0
			}
		}
	}
	return o.cur != nil
}

// writtenLocked ends the caller's time as the writer and unlocks mu.
func (c *conn) writtenLocked() {
	o := &c.out
	o.writing = false
	if o.dead {
		o.dropLocked()
	}
	eased := o.choked && (o.dead || o.ended || o.pendingLocked() <= c.srv.cfg.OutputLimit)
	if eased {
		o.choked = false
	}
	fed := o.hungry && o.pendingLocked() <= c.srv.cfg.OutputLimit/2 && !o.ended
	if fed {
		o.hungry = false
	}
	ended := o.ended
	o.mu.Unlock()
	if ended || eased {
		c.wire.wake()
	}
	if fed && !ended {
		c.wire.fed()
	}
}

// chokeRoom is how many times the output limit may wait for the network, beside one
// packet, before the input rests. It is far more than deliveries and answers to
// requests fill: a client that writes for a while before it reads is not stopped.
const chokeRoom = 4

// choke tells whether the input has to rest because the client does not read what
// it has brought about: each packet may have an answer, and what waits must not
// grow as long as packets come. wire.wake tells when the input may go on.
func (c *conn) choke() bool {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.choked = !o.ended && !o.dead && o.pendingLocked() > chokeRoom*c.srv.cfg.OutputLimit+c.srv.cfg.MaximumPacketSize
	return o.choked
}

// chokedNow tells whether the input rests for that reason.
func (c *conn) chokedNow() bool {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.choked
}

// writeFailedLocked is writtenLocked after an error of the network. word is the
// reason for the connection's end.
func (c *conn) writeFailedLocked(word string) {
	c.out.dead = true
	first := c.endLocked(ending{word: word, abrupt: true})
	c.writtenLocked()
	if first {
		c.wire.wake()
	}
}

// blockingChunk is how much of the output must reach the network within the write
// timeout where writes can block.
const blockingChunk = 16 << 10

// writeBlocking is the transient writer of connections whose writes may block. It
// ends when nothing waits any more.
func (c *conn) writeBlocking() {
	o := &c.out
	o.mu.Lock()
	for c.takeLocked() {
		b := o.cur.b[o.off:]
		o.mu.Unlock()
		n, err := c.wire.writeWithin(b[:min(len(b), blockingChunk)], c.srv.cfg.WriteTimeout)
		c.srv.counters.bytesOut.Add(uint64(n))
		o.mu.Lock()
		if err != nil {
			word := "error"
			if errors.Is(err, os.ErrDeadlineExceeded) {
				word = "write_timeout"
			}
			c.writeFailedLocked(word)
			return
		}
		o.off += n
	}
	c.writtenLocked()
}

// writeOn starts the transient writer for what the network did not take at once.
func (c *conn) writeOn() {
	o := &c.out
	o.mu.Lock()
	if o.writing || o.dead || !o.waiting {
		o.mu.Unlock()
		return
	}
	o.writing, o.waiting = true, false
	o.mu.Unlock()
	c.srv.spawn(c.writeBlocking)
}

// stalledFor tells for how long the network has taken nothing of what waits.
func (c *conn) stalledFor(now int64) time.Duration {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.waiting || o.stalled == 0 {
		return 0
	}
	return time.Duration(now-o.stalled) * time.Millisecond
}

// drained tells whether all output has reached the network, or cannot any more,
// and nobody is the writer.
func (c *conn) drained() (done, dead bool) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.writing && (o.dead || o.pendingLocked() == 0), o.dead
}

// kill drops all output: the network connection is closed or about to be. It tells
// whether nobody is the writer any more.
func (c *conn) kill() bool {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dead = true
	if o.writing {
		return false
	}
	o.dropLocked()
	return true
}
