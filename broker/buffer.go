package broker

import "sync"

// buffer is a byte slice that is lent to a connection while it has something to
// keep: output that waits, or input that is incomplete.
type buffer struct{ b []byte }

// maxPooled is the largest buffer that goes back to the pool: what a burst has
// made larger is left to the garbage collector.
const maxPooled = 64 << 10

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, 2048)} }}

func getBuffer() *buffer { return buffers.Get().(*buffer) }

func putBuffer(b *buffer) {
	if cap(b.b) > maxPooled {
		return
	}
	b.b = b.b[:0]
	buffers.Put(b)
}
