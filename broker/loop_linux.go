package broker

import (
	"errors"
	"fmt"
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

// pickLoop returns one of the loops, which it starts at the first call. Those of
// the conformance listener share one: so what its clients send is read in the order
// in which it comes, also over connections, which MQTT does not ask for and test
// suites count on.
func (s *Server) pickLoop(plain bool) (*loop, error) {
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
	if plain {
		return s.loops[0], nil
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
