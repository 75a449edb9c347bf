package opencrash_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"tidings/internal/mqttest"
)

// link is one network connection, with a goroutine that reads its packets.
type link struct {
	conn    net.Conn
	packets chan mqttest.Packet // closed when the connection has ended
	stop    chan struct{}
	out     []byte // not yet written
}

// refused is a CONNACK that says no.
type refused struct{ code byte }

// Error names the code.
func (r *refused) Error() string { return fmt.Sprintf("CONNACK %#02x", r.code) }

// dial connects, sends CONNECT and waits for the CONNACK.
func dial(ctx context.Context, addr string, o *mqttest.Options) (*link, *mqttest.ConnAck, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(conn)
	ack, err := handshake(conn, r, o)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	l := &link{conn: conn, packets: make(chan mqttest.Packet, 256), stop: make(chan struct{})}
	go l.read(r)
	return l, ack, nil
}

func handshake(conn net.Conn, r *bufio.Reader, o *mqttest.Options) (*mqttest.ConnAck, error) {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(mqttest.AppendConnect(nil, o)); err != nil {
		return nil, err
	}
	k, err := mqttest.ReadPacket(r)
	if err != nil {
		return nil, err
	}
	ack, err := k.ConnAck(o.Version)
	if err != nil {
		return nil, err
	}
	if k.Type() != mqttest.CONNACK || ack.Code != 0 {
		return nil, &refused{ack.Code}
	}
	return ack, conn.SetDeadline(time.Time{})
}

// read hands on what comes until the connection ends.
func (l *link) read(r *bufio.Reader) {
	defer close(l.packets)
	for {
		k, err := mqttest.ReadPacket(r)
		if err != nil {
			return
		}
		select {
		case l.packets <- k:
		case <-l.stop:
			return
		}
	}
}

// flush writes what has gathered. That it fails shows in packets, too.
func (l *link) flush() {
	if len(l.out) == 0 {
		return
	}
	if l.conn.SetWriteDeadline(time.Now().Add(5*time.Second)) != nil {
		return
	}
	if _, err := l.conn.Write(l.out); err != nil {
		l.conn.Close()
	}
	l.out = l.out[:0]
}

// close ends the connection, by a reset or in order, and waits for the reader. What had come and nobody took is lost, as with a
// client that crashes; so is, with a reset, what is under way to the server.
func (l *link) close(reset bool) {
	if tcp, ok := l.conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // else it ends in order
	}
	close(l.stop)
	l.conn.Close()
	for range l.packets { // until the reader has ended
	}
}
