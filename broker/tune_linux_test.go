package broker_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// keeper keeps a second descriptor of each socket that it accepts.
type keeper struct {
	net.Listener
	files chan *os.File
}

func (k *keeper) Accept() (net.Conn, error) {
	nc, err := k.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f, err := nc.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	k.files <- f
	return nc, nil
}

// TestKernelGivesUpDeadClients reads the options of the server's side of a socket.
func TestKernelGivesUpDeadClients(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	for _, k := range []struct{ portable, secure bool }{{false, false}, {true, false}, {false, true}} {
		b, err := broker.NewForTest(broker.Config{Portable: k.portable, WriteTimeout: 7 * time.Second}, newFakeEngine(), nil)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		kept := &keeper{ln, make(chan *os.File, 1)}
		var serve net.Listener = kept
		if k.secure {
			serve = tls.NewListener(kept, &tls.Config{Certificates: web.TLS.Certificates})
		}
		served := make(chan error, 1)
		go func() { served <- b.ServeTCP(serve) }()
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if k.secure {
			nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		}
		c, err := mqttest.Dial(t.Context(), mqttest.Options{Conn: nc, Version: mqttest.V311, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		if err != nil {
			t.Fatal(err)
		}
		f := <-kept.files
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Control(func(fd uintptr) {
			timeout, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			alive, err2 := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			if timeout != 14_000 || alive == 0 || err != nil || err2 != nil {
				t.Errorf("%+v: user timeout %d ms, keepalive %d, %v %v", k, timeout, alive, err, err2)
			}
		})
		if err != nil {
			t.Error(err)
		}
		f.Close()
		c.Close()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, broker.ErrClosed) {
			t.Error(err)
		}
	}
}
