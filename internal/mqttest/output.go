package mqttest

import (
	"net"
	"sync"
)

// output gathers packets of many goroutines and writes them with as few system calls as possible. No lock is held while
// it writes: one goroutine at a time is the writer, the others append behind it.
type output struct {
	conn  net.Conn
	limit int

	mu      sync.Mutex
	drained sync.Cond // the writer took buf, or gave up
	buf     []byte
	spare   []byte
	writing bool
	err     error
}

func newOutput(conn net.Conn, limit int) *output {
	o := &output{conn: conn, limit: limit}
	o.drained.L = &o.mu
	return o
}

// add appends one or more packets by way of encode, which must only append. It waits while a write is under way and the
// buffer is full.
func (o *output) add(encode func([]byte) []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waitLocked()
	if o.err == nil {
		o.buf = encode(o.buf)
	}
	return o.err
}

// waitLocked waits for room.
func (o *output) waitLocked() {
	for o.err == nil && o.writing && len(o.buf) > o.limit {
		o.drained.Wait()
	}
}

// flush writes what has gathered, unless another goroutine is writing: that one takes it along.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing {
		return o.err
	}
	for o.err == nil && len(o.buf) > 0 {
		out := o.buf
		o.buf, o.spare = o.spare[:0], nil
		o.writing = true
		o.mu.Unlock()
		_, err := o.conn.Write(out)
		o.mu.Lock()
		o.writing = false
		o.spare = out[:0]
		if cap(o.spare) > 64<<10 {
			o.spare = nil // a burst's buffer is not kept
		}
		if err != nil {
			o.err = err
		}
		o.drained.Broadcast()
	}
	return o.err
}

// fail makes every later call return err and wakes who waits.
func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.drained.Broadcast()
}
