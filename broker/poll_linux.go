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
	w.c = newConn(s, w, remote, "tcp", plain)
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
