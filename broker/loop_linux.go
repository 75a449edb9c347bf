package broker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// loop drives many plain TCP connections with one goroutine and an epoll set. A
// round takes what is ready, reads each connection once, hands what came to the
// engine with one commit, and flushes.
//
// Descriptors are registered once, edge-triggered, for reading and writing: a
// pause costs no system call, it only leaves readable set. The loop alone closes
// them; others reach a connection by post.
type loop struct {
	srv  *Server
	epfd int
	file *os.File // owns epfd; waiting inside Go's poller costs no thread
	raw  syscall.RawConn
	bell int // eventfd

	// Owned by the loop's goroutine.
	conns  map[int32]*pollWire
	round  round
	buf    []byte
	again  []*pollWire // may have more to read
	jobs   []*pollWire // to start after the commit
	ending []*pollWire // to finish after the commit
	events []unix.EpollEvent

	mu     sync.Mutex
	posted []*pollWire // to look at
	rung   bool        // the bell has been rung since the loop last looked
}

// readSize is how much one connection may bring in one round.
const readSize = 64 << 10

// pollWire is a connection in a loop.
type pollWire struct {
	loop *loop
	fd   int
	c    *conn

	// Owned by the loop's goroutine.
	added    bool // is in the epoll set
	readable bool // a read may bring something
	hangup   bool // the client has closed its side: a short read is not the end
	eof      bool
	shut     bool // our side is closed for writing
	busy     bool // a job runs
	closed   bool
	released bool
	queued   bool // stands in again

	// Guarded by loop.mu.
	listed  bool // stands in posted
	jobDone bool
	hungry  bool // Session.Writable is due
}

// poll hands a TCP connection to a loop; false if it has to be served otherwise.
func (s *Server) poll(tcp *net.TCPConn) bool {
	if s.cfg.Portable {
		return false
	}
	l, err := s.pickLoop()
	if err != nil {
		s.log.Error("no epoll loop", "error", err)
		return false
	}
	remote := addrPort(tcp.RemoteAddr())
	fd, err := detach(tcp, s.cfg.WriteTimeout.Milliseconds()*2)
	if err != nil {
		s.counters.acceptErrors.Add(1)
		s.log.Warn("accepted connection not usable", "error", err)
		return true
	}
	w := &pollWire{loop: l, fd: fd}
	w.c = newConn(s, w, remote, "tcp")
	if !s.register(w.c) {
		_ = unix.Close(fd)
		return true
	}
	l.post(w)
	return true
}

// detach takes the descriptor out of Go's hands, non-blocking, and closes tcp. A
// client that acknowledges no bytes for userTimeout milliseconds is given up by the
// kernel, which is what finds dead 3.1.1 clients without a keep alive.
func detach(tcp *net.TCPConn, userTimeout int64) (fd int, err error) {
	defer closeQuietly(tcp)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(from uintptr) {
		if fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout))
		}
	})
	return fd, errors.Join(failed, err)
}

// closeQuietly closes what nobody will use any more, however that ends.
func closeQuietly(c io.Closer) { _ = c.Close() }

// pickLoop returns one of the loops, which it starts at the first call.
func (s *Server) pickLoop() (*loop, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.loops) < s.cfg.Loops {
		l, err := newLoop(s)
		if err != nil {
			return nil, err
		}
		s.loops = append(s.loops, l)
		s.base.Go(l.run)
	}
	s.turn++
	return s.loops[s.turn%len(s.loops)], nil
}

func newLoop(s *Server) (*loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil {
		_ = unix.Close(epfd)
		return nil, fmt.Errorf("epoll set: %w", err)
	}
	l := &loop{srv: s, epfd: epfd, file: os.NewFile(uintptr(epfd), "epoll"), conns: make(map[int32]*pollWire), buf: make([]byte, readSize), events: make([]unix.EpollEvent, 256)}
	l.round.turn = s.engine.NewTurn()
	if l.raw, err = l.file.SyscallConn(); err == nil {
		l.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err == nil {
		err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, l.bell, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(l.bell)})
	}
	if err != nil {
		closeQuietly(l.file)
		return nil, fmt.Errorf("epoll set: %w", err)
	}
	return l, nil
}

// post has the loop look at w.
func (l *loop) post(w *pollWire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.postLocked(w)
}

func (l *loop) postLocked(w *pollWire) {
	if !w.listed {
		w.listed = true
		l.posted = append(l.posted, w)
	}
	l.ringLocked()
}

func (l *loop) ringLocked() {
	if !l.rung {
		l.rung = true
		one := [8]byte{1} // native order does not matter: any non-zero count rings
		_, _ = unix.Write(l.bell, one[:])
	}
}

// signal makes the loop go round once.
func (l *loop) signal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ringLocked()
}

// run is the loop's goroutine. It ends when the server has stopped.
func (l *loop) run() {
	defer closeQuietly(l.file)
	defer func() { _ = unix.Close(l.bell) }()
	for {
		n := l.wait()
		for i := range l.events[:n] {
			l.event(&l.events[i])
		}
		l.takePosted()
		again := l.again
		l.again = nil
		for _, w := range again {
			w.queued = false
			l.advance(w)
		}
		l.round.flush(l.srv)
		l.afterCommit()
		select {
		case <-l.srv.stopped:
			return
		default:
		}
	}
}

// wait returns how many events there are, after waiting for one unless there is
// other work.
func (l *loop) wait() (n int) {
	if len(l.again) > 0 {
		n, _ = unix.EpollWait(l.epfd, l.events, 0)
		return max(n, 0)
	}
	err := l.raw.Read(func(fd uintptr) bool {
		var err error
		n, err = unix.EpollWait(int(fd), l.events, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	if err != nil {
		l.srv.log.Error("epoll wait failed", "error", err)
	}
	return max(n, 0)
}

func (l *loop) event(e *unix.EpollEvent) {
	if int(e.Fd) == l.bell {
		var count [8]byte
		_, _ = unix.Read(l.bell, count[:])
		return
	}
	w := l.conns[e.Fd]
	if w == nil {
		return
	}
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		w.hangup = true
	}
	if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		w.readable = true
	}
	if e.Events&unix.EPOLLERR != 0 {
		w.c.end(ending{word: "error", abrupt: true})
	}
	if e.Events&unix.EPOLLOUT != 0 {
		w.c.roomAgain()
	}
	l.advance(w)
}

// takePosted looks at what others have posted.
func (l *loop) takePosted() {
	l.mu.Lock()
	posted := l.posted
	l.posted, l.rung = nil, false
	l.mu.Unlock()
	for _, w := range posted {
		l.mu.Lock()
		done, hungry := w.jobDone, w.hungry
		w.listed, w.jobDone, w.hungry = false, false, false
		l.mu.Unlock()
		if w.closed && !done {
			continue
		}
		if !w.added {
			l.add(w)
		}
		if done {
			w.busy, w.c.job = false, nil
		}
		if hungry && w.c.sess != nil {
			w.c.sess.Writable()
		}
		l.advance(w)
	}
}

func (l *loop) add(w *pollWire) {
	w.added = true
	l.conns[int32(w.fd)] = w
	err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, w.fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(w.fd),
	})
	if err != nil {
		w.c.end(ending{word: "error", abrupt: true})
	}
}

// advance does what can be done for a connection in this round.
func (l *loop) advance(w *pollWire) {
	c := w.c
	defer c.guard()
	if !w.busy && !w.closed {
		if c.held != nil {
			c.input(nil, &l.round)
		}
		if w.readable && (!c.resting() || c.state == stateClosed) {
			l.read(w)
		}
		if c.job != nil {
			w.busy = true
			l.jobs = append(l.jobs, w)
		}
	}
	l.settle(w)
}

// read reads once. What remains is for the next round, so that no connection
// keeps the others waiting.
func (l *loop) read(w *pollWire) {
	n, err := unix.Read(w.fd, l.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		w.readable = false
	case errors.Is(err, unix.EINTR):
	case err != nil || n <= 0:
		w.readable, w.eof = false, true
		w.c.end(readEOF(err))
	default:
		if n < len(l.buf) && !w.hangup {
			w.readable = false // drained: more will raise an edge
		}
		w.c.input(l.buf[:n], &l.round)
		if l.buf[0]>>4 == typePuback && !w.closed {
			// A client that acknowledges one by one, with Nagle's algorithm on, waits for
			// TCP's acknowledgement of the first before it sends the others; we would
			// delay it, having nothing to send until half the window is free.
			_ = unix.SetsockoptInt(w.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		}
	}
	if w.readable && !w.queued {
		w.queued = true
		l.again = append(l.again, w)
	}
}

func readEOF(err error) ending {
	if err != nil {
		return ending{word: "error", abrupt: true}
	}
	return ending{word: "eof", abrupt: true}
}

// afterCommit starts the jobs, and finishes the connections that have ended.
func (l *loop) afterCommit() {
	for i, w := range l.jobs {
		l.jobs[i] = nil
		l.start(w)
	}
	l.jobs = l.jobs[:0]
	for i, w := range l.ending {
		l.ending[i] = nil
		w.c.finish()
		l.release(w)
	}
	l.ending = l.ending[:0]
}

// release lets a connection go that is both closed and finished.
func (l *loop) release(w *pollWire) {
	if w.closed && w.c.finishing && !w.released {
		w.released = true
		l.srv.unregister(w.c)
	}
}

func (l *loop) start(w *pollWire) {
	j := w.c.job
	j.pool.submit(func() {
		defer func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			w.jobDone = true
			l.postLocked(w)
		}()
		defer w.c.guard()
		j.run()
	})
}

// settle takes a connection that has ended towards its close: the last bytes are
// written, our side is shut, and the client gets the linger time to close its own.
func (l *loop) settle(w *pollWire) {
	c := w.c
	e, ended := c.ended()
	if !ended {
		return
	}
	if !w.busy && !c.finishing {
		l.lastWords(w)
		l.ending = append(l.ending, w)
	}
	if w.closed {
		return
	}
	now := c.srv.clock.now()
	if c.linger.Load() == 0 {
		c.linger.Store(now + c.srv.cfg.Linger.Milliseconds())
		c.srv.wheel.expect(c, c.srv.cfg.Linger)
	}
	if !e.abrupt && !w.eof && now < c.linger.Load() {
		c.Flush()
		done, dead := c.drained()
		if done && !dead && !w.shut {
			w.shut = true
			_ = unix.Shutdown(w.fd, unix.SHUT_WR)
		}
		if !dead {
			return
		}
	}
	l.close(w)
}

// lastReads bounds what is still taken from a connection that has ended.
const lastReads = 4

// lastWords takes what had arrived when the connection was ended from our side:
// an acknowledgement among it counts, and must not cost the device a repetition.
func (l *loop) lastWords(w *pollWire) {
	for range lastReads {
		if w.closed || w.eof || w.c.resting() {
			return
		}
		n, err := unix.Read(w.fd, l.buf)
		if err != nil || n <= 0 {
			return
		}
		w.c.input(l.buf[:n], &l.round)
	}
}

// close closes the descriptor, unless somebody is writing to it: the end of that
// posts w again.
func (l *loop) close(w *pollWire) {
	if !w.c.kill() {
		return
	}
	w.closed = true
	delete(l.conns, int32(w.fd))
	_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, w.fd, nil)
	_ = unix.Close(w.fd)
	l.release(w)
}
