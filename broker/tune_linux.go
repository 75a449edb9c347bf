package broker

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tune has the kernel give up a TCP connection whose client has acknowledged no
// byte for so long: with the probes of SO_KEEPALIVE, which Go sets on what it
// accepts, that is what finds dead MQTT 3.1.1 clients that have no keep alive. The
// TCP connection may stand below a TLS one. Without the option the connection
// works as well, and dead clients stay longer.
func tune(nc net.Conn, giveUp time.Duration) {
	if over, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = over.NetConn()
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // closed already
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(giveUp.Milliseconds()))
	})
}
