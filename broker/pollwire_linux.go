package broker

import (
	"errors"
	"time"
)

var errNotDirect = errors.New("polled connections are not written to by blocking")

func (w *pollWire) direct() bool { return true }

// write is never called once the loop has closed the descriptor: kill makes the
// output dead under its lock when nobody is the writer.
func (w *pollWire) write(b []byte) (int, error) { return writeFD(w.fd, b) }

func (w *pollWire) writeWithin([]byte, time.Duration) (int, error) { return 0, errNotDirect }

// full: epoll tells when there is room. The wheel gives up on a client that takes
// nothing.
func (w *pollWire) full() { w.c.srv.wheel.expect(w.c, w.c.srv.cfg.WriteTimeout) }

func (w *pollWire) fed() {
	l := w.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	w.hungry = true
	l.postLocked(w)
}

func (w *pollWire) wake() { w.loop.post(w) }
