package conformance_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tidings/internal/mqttest"
)

const (
	v3 = mqttest.V311
	v5 = mqttest.V5
)

// patience bounds every wait for something that has to come.
const patience = 20 * time.Second

// each runs body for both versions.
func each(t *testing.T, body func(t *testing.T, version byte)) {
	t.Parallel()
	t.Run("3.1.1", func(t *testing.T) { t.Parallel(); body(t, v3) })
	t.Run("5", func(t *testing.T) { t.Parallel(); body(t, v5) })
}

var names atomic.Int64

// unique returns a name that no other test has: for topics and client identifiers, of letters and digits.
func unique() string { return fmt.Sprintf("n%dx%d", os.Getpid(), names.Add(1)) }

// peer is one connection that a test drives packet by packet.
type peer struct {
	t       *testing.T
	version byte
	id      string // client identifier
	conn    net.Conn
	r       *bufio.Reader
	ack     *mqttest.ConnAck
	lastID  uint16
	settled map[uint16]bool // identifiers of QoS 2 deliveries that wait for PUBREL
}

// dial opens a connection on which nothing has been sent.
func dial(t *testing.T, version byte) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", address(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{t: t, version: version, conn: conn, r: bufio.NewReader(conn)}
}

// connect opens a connection and logs in; change may alter the options, which are a session that ends with the connection.
func connect(t *testing.T, version byte, change ...func(*mqttest.Options)) *peer {
	t.Helper()
	p := dial(t, version)
	o := mqttest.Options{Version: version, ClientID: unique(), Clean: true, KeepAlive: 600}
	for _, f := range change {
		f(&o)
	}
	p.id = o.ClientID
	p.send(mqttest.AppendConnect(nil, &o))
	if p.ack = p.connack(); p.ack.Code != 0 {
		t.Fatalf("CONNACK %#02x", p.ack.Code)
	}
	if assigned := p.ack.Props.Strings[mqttest.PropAssignedClientID]; assigned != "" {
		p.id = assigned
	}
	return p
}

// as gives a connection a client identifier.
func as(id string) func(*mqttest.Options) { return func(o *mqttest.Options) { o.ClientID = id } }

// lasting makes the session outlive the connection, and takes up an earlier one.
func lasting(o *mqttest.Options) {
	o.Clean = false
	if o.Version == v5 {
		o.SessionExpiry = 600
	}
}

// with sets a numeric property of CONNECT.
func with(id byte, n uint32) func(*mqttest.Options) {
	return func(o *mqttest.Options) {
		if o.Props == nil {
			o.Props = &mqttest.Properties{}
		}
		o.Props.SetNumber(id, n)
	}
}

// again connects with the client identifier of p and a session that lasts.
func (p *peer) again(change ...func(*mqttest.Options)) *peer {
	p.t.Helper()
	return connect(p.t, p.version, append([]func(*mqttest.Options){as(p.id), lasting}, change...)...)
}

// send writes bytes. The server may have closed already: what it said shows why.
func (p *peer) send(parts ...[]byte) {
	p.t.Helper()
	_, err := p.conn.Write(bytes.Join(parts, nil))
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		p.t.Fatal(err)
	}
}

// raw reads the next packet. A PUBREL that settle waits for is answered; own tells of that.
func (p *peer) raw() (k mqttest.Packet, own bool, err error) {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	if k, err = mqttest.ReadPacket(p.r); err != nil {
		return k, false, err
	}
	p.checkForm(k)
	if k.Type() != mqttest.PUBREL {
		return k, false, nil
	}
	if a, err := k.Ack(p.version); err == nil && p.settled[a.ID] {
		delete(p.settled, a.ID)
		p.sendAck(mqttest.PUBCOMP, a.ID, 0)
		return k, true, nil
	}
	return k, false, nil
}

// checkForm checks what is the same in all packets of a server: flags, and the lengths that MQTT 3.1.1 fixes.
func (p *peer) checkForm(k mqttest.Packet) {
	p.t.Helper()
	flags, want := k.First&15, byte(0)
	switch k.Type() {
	case mqttest.PUBLISH:
		want = flags
	case mqttest.PUBREL:
		want = 2
	}
	if flags != want {
		p.t.Errorf("flags %04b: %v", flags, k)
	}
	fixed := map[byte]int{
		mqttest.CONNACK: 2, mqttest.PUBACK: 2, mqttest.PUBREC: 2, mqttest.PUBREL: 2, mqttest.PUBCOMP: 2, mqttest.UNSUBACK: 2, mqttest.PINGRESP: 0,
	}
	if n, ok := fixed[k.Type()]; ok && p.version == v3 && len(k.Body) != n {
		p.t.Errorf("a body of %d bytes: %v", len(k.Body), k)
	}
}

// read reads the next packet that is not part of an exchange that settle has begun to complete.
func (p *peer) read() (mqttest.Packet, error) {
	p.t.Helper()
	for {
		if k, own, err := p.raw(); !own {
			return k, err
		}
	}
}

// packet reads the next packet, which must be of one type.
func (p *peer) packet(kind byte) mqttest.Packet {
	p.t.Helper()
	k, err := p.read()
	if err != nil {
		p.t.Fatalf("want a packet of type %d: %v", kind, err)
	}
	if k.Type() != kind {
		p.t.Fatalf("want a packet of type %d, got %v", kind, k)
	}
	return k
}

func (p *peer) connack() *mqttest.ConnAck {
	p.t.Helper()
	k, err := p.packet(mqttest.CONNACK).ConnAck(p.version)
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

// message reads the next packet, which must be a PUBLISH.
func (p *peer) message() *mqttest.Message {
	p.t.Helper()
	m, err := p.packet(mqttest.PUBLISH).Message(p.version)
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// acked reads the next packet, which must be an acknowledgement of that type and identifier, and returns its reason code.
func (p *peer) acked(kind byte, id uint16) byte {
	p.t.Helper()
	a, err := p.packet(kind).Ack(p.version)
	if err != nil || a.ID != id {
		p.t.Fatalf("acknowledgement of type %d: identifier %d, want %d, %v", kind, a.ID, id, err)
	}
	return a.Code
}

// sendAck sends an acknowledgement.
func (p *peer) sendAck(kind byte, id uint16, code byte) {
	p.t.Helper()
	p.send(mqttest.AppendAck(nil, p.version, kind, id, code))
}

// nextID returns a packet identifier that this connection has not used.
func (p *peer) nextID() uint16 {
	p.lastID++
	return p.lastID
}

// sync waits until the server has taken all that was sent before and all exchanges are complete; nothing else may come.
func (p *peer) sync() {
	p.t.Helper()
	for len(p.settled) > 0 {
		if k, own, err := p.raw(); !own {
			p.t.Fatalf("want PUBREL, got %v, %v", k, err)
		}
	}
	p.send([]byte{0xc0, 0})
	p.packet(mqttest.PINGRESP)
}

// drop ends the connection without DISCONNECT.
func (p *peer) drop() { p.conn.Close() }

// disconnect sends DISCONNECT and waits for the server to close.
func (p *peer) disconnect() {
	p.t.Helper()
	p.send(mqttest.AppendDisconnect(nil, p.version, 0, nil))
	p.ended()
}

// rest reads all packets until the server has closed.
func (p *peer) rest() []mqttest.Packet {
	p.t.Helper()
	var all []mqttest.Packet
	for {
		k, err := p.read()
		switch {
		case err == nil:
			all = append(all, k)
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatalf("the server has not closed the connection; it sent %v", all)
		case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
			return all
		default:
			p.t.Fatal(err)
		}
	}
}

// ended reads until the server has closed, which is the next thing that it does but for a DISCONNECT, and returns that
// one's reason code; 0 if there is none.
func (p *peer) ended() byte {
	p.t.Helper()
	all := p.rest()
	if len(all) == 0 {
		return 0
	}
	if len(all) > 1 || all[0].Type() != mqttest.DISCONNECT || p.version != v5 {
		p.t.Fatalf("before it closed the server sent %v", all)
	}
	d, err := all[0].Disconnect(p.version)
	if err != nil {
		p.t.Fatal(err)
	}
	if d.Code < 0x80 {
		p.t.Errorf("the server ended the connection with DISCONNECT %#02x", d.Code)
	}
	if _, ok := d.Props.Number(mqttest.PropSessionExpiry); ok {
		p.t.Error("the server's DISCONNECT has a session expiry interval")
	}
	return d.Code
}

// refused sends bytes that must end the connection; an MQTT 5 client is told one of the codes, if any.
func (p *peer) refused(what string, b []byte, codes ...byte) {
	p.t.Helper()
	p.send(b)
	code := p.ended()
	if p.version == v5 && code != 0 && !bytes.Contains(codes, []byte{code}) {
		p.t.Errorf("%s: DISCONNECT %#02x, want one of %#02x", what, code, codes)
	}
}
