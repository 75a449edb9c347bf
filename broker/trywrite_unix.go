//go:build unix

package broker

import (
	"errors"
	"net"
	"syscall"
)

// nonBlocking returns a function that writes to a TCP connection what its socket
// takes at once; nil for other connections.
func nonBlocking(nc net.Conn) func(b []byte) (int, error) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return func(b []byte) (n int, err error) {
		failed := raw.Write(func(fd uintptr) bool {
			n, err = writeFD(int(fd), b)
			return true
		})
		return n, errors.Join(failed, err)
	}
}

// writeFD writes what a non-blocking descriptor takes at once. Nothing taken is no
// error.
func writeFD(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, b)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		default:
			return 0, err
		}
	}
}
