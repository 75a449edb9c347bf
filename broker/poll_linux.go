package broker

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// poll hands a TCP connection to a loop; false if it has to be served otherwise.
func (s *Server) poll(tcp *net.TCPConn, plain bool) bool {
	if s.cfg.Portable {
		return false
	}
	l, err := s.pickLoop(plain)
	if err != nil {
		s.log.Error("no epoll loop", "error", err)
		return false
	}
	remote := addrPort(tcp.RemoteAddr())
	fd, err := detach(tcp)
	if err != nil {
		s.counters.acceptErrors.Add(1)
		s.log.Warn("accepted connection not usable", "error", err)
		return true
	}
	w := &pollWire{loop: l, fd: fd}
	w.c = newConn(s, w, remote, "tcp", plain)
	if !s.register(w.c) {
		_ = unix.Close(fd)
		return true
	}
	l.post(w)
	return true
}

// detach takes the descriptor out of Go's hands, non-blocking, and closes tcp.
func detach(tcp *net.TCPConn) (fd int, err error) {
	defer closeQuietly(tcp)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(from uintptr) {
		fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(failed, err)
}

// closeQuietly closes what nobody will use any more, however that ends.
func closeQuietly(c io.Closer) { _ = c.Close() }
