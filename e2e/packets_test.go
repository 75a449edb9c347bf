package e2e_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// raw opens a network connection and sends bytes as they are.
func (w *world) raw(b []byte) net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.MQTT())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write(b); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// answer reads what the server sends until it closes the connection.
func (w *world) answer(conn net.Conn) []byte {
	w.t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("the server did not close the connection; it sent %x", b)
	}
	return b
}

// connectPacket is the CONNECT of a device.
func connectPacket(l server.Login, m mode) []byte {
	o := options(m)
	o.Version = m.version
	o.ClientID, o.User, o.Password = l.Device, l.User, l.Token
	return mqttest.AppendConnect(nil, &o)
}

// closesWith sends bytes on a connection that is logged in, and checks how it ends.
func (w *world) closesWith(l server.Login, m mode, name string, b []byte, code byte) {
	w.t.Helper()
	c := w.connect(l, m)
	_ = c.WriteRaw(b) // it reports the end of the connection, if that comes first
	if got := c.ended(); m.version == mqttest.V5 && got != code {
		w.t.Errorf("%s: ended with %#02x, want %#02x", name, got, code)
	}
}

func TestBadPackets(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, allModes, func(t *testing.T, m mode) {
		w := w.in(t)
		l := w.logins("alice/laptop")[0]
		v5 := m.version == mqttest.V5
		props := []byte{}
		if v5 {
			props = []byte{0}
		}
		packet := func(first byte, parts ...[]byte) []byte {
			var body []byte
			for _, p := range parts {
				body = append(body, p...)
			}
			return append([]byte{first, byte(len(body))}, body...)
		}
		topic := []byte("\x00\x03u/x")
		w.closesWith(l, m, "SUBSCRIBE cut short in the filter", packet(0x82, []byte{0, 1}, props, []byte("\x00\x09u/x")), 0x81)
		w.closesWith(l, m, "SUBSCRIBE without options", packet(0x82, []byte{0, 1}, props, topic), 0x81)
		w.closesWith(l, m, "SUBSCRIBE without filters", packet(0x82, []byte{0, 1}, props), 0x82)
		w.closesWith(l, m, "SUBSCRIBE with an identifier of 0", packet(0x82, []byte{0, 0}, props, topic, []byte{1}), 0x81)
		w.closesWith(l, m, "SUBSCRIBE with wrong flags", packet(0x80, []byte{0, 1}, props, topic, []byte{1}), 0x81)
		w.closesWith(l, m, "SUBSCRIBE at QoS 3", packet(0x82, []byte{0, 1}, props, topic, []byte{3}), 0x81)
		w.closesWith(l, m, "PUBLISH at QoS 3", packet(0x36, topic, []byte{0, 1}, props), 0x81)
		w.closesWith(l, m, "PUBLISH with a wildcard", packet(0x30, []byte("\x00\x03u/#"), props), 0x90)
		w.closesWith(l, m, "PUBLISH cut short", packet(0x30, []byte("\x00\x09u/x")), 0x81)
		w.closesWith(l, m, "a packet of type 0", packet(0x00), 0x82)
		w.closesWith(l, m, "a packet of the server", packet(0x20, []byte{0, 0}), 0x82)
		w.closesWith(l, m, "a remaining length of five bytes", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}, 0x81)
		w.closesWith(l, m, "a second CONNECT", connectPacket(l, m), 0x82)
		if v5 {
			w.closesWith(l, m, "a remaining length of 256 MB", []byte{0x32, 0xff, 0xff, 0xff, 0x7f, 0, 3, 'u'}, 0x95)
			w.closesWith(l, m, "a topic alias", packet(0x30, topic, []byte{3, 0x23, 0, 1}), 0x94)
		}
		// After all that the device is as good as new.
		c := w.connect(l, m)
		c.inbox()
		c.send(c.me(), "fine")
	})
}

// 256 MB are neither read into memory nor waited for.
func TestHugeRemainingLength(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	l := w.logins("alice/laptop")[0]
	before := w.rss()
	for range 50 {
		w.closesWith(l, v3, "", append([]byte{0x32, 0xff, 0xff, 0xff, 0x7f}, make([]byte, 64<<10)...), 0)
	}
	huge := []byte{0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4, 'M', 'Q', 'T', 'T'}
	for range 50 {
		if b := w.answer(w.raw(huge)); len(b) > 0 && b[0]>>4 != mqttest.CONNACK {
			t.Errorf("a CONNECT of 256 MB was answered %x", b)
		}
	}
	if grown := w.rss() - before; grown > 64<<20 {
		t.Errorf("100 such packets cost %d MiB", grown>>20)
	}
	w.online(l, v3)
}

// MQTT 3.1.1 cannot be told how large a packet may be: what is too large is read past and refused.
func TestTooLargeOn311IsReadPast(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	alice := w.online(w.logins("alice/laptop")[0], v3)
	alice.refused(mqttest.Publish{Topic: alice.me(), Payload: make([]byte, 2<<20)}, 0, "too_large")
	alice.send(alice.me(), "fine")
}

// Shows MQTT3-3.1.0-1, MQTT3-3.1.2-2, MQTT5-3.1.0-1, MQTT5-3.1.2-2.
func TestPacketsBeforeCONNECT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{Args: withConfig(t, "connect_timeout: 300ms\n")})
	l := w.logins("alice/laptop")[0]
	connect := connectPacket(l, v5)
	level := func(name string, level byte) []byte {
		body := append([]byte{0, byte(len(name))}, name...)
		body = append(body, level, 2, 0, 60)
		if level >= 5 {
			body = append(body, 0)
		}
		body = append(body, 0, 1, 'x')
		return append([]byte{0x10, byte(len(body))}, body...)
	}
	for _, c := range []struct {
		name string
		sent []byte
		want string // what the server says before it closes
	}{
		{"nothing", nil, ""},
		{"half a packet", connect[:len(connect)/2], ""},
		{"one byte", connect[:1], ""},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ""},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), ""},
		{"PINGREQ first", []byte{0xc0, 0}, ""},
		{"PUBLISH first", []byte{0x30, 4, 0, 1, 'x', 0}, ""},
		{"another protocol name", level("HTTP", 4), ""},
		{"MQTT 3.1", level("MQIsdp", 3), "\x20\x02\x00\x01"},
		{"MQTT of level 3", level("MQTT", 3), "\x20\x02\x00\x01"},
		{"MQTT of level 6", level("MQTT", 6), "\x20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			if got := string(w.answer(w.raw(c.sent))); got != c.want && (len(c.want) != 1 || !strings.HasPrefix(got, c.want)) {
				t.Errorf("answered %x, want %x", got, c.want)
			}
		})
	}
}

func TestPacketsInPieces(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	bob := w.online(ls[1], v5)
	for _, m := range versions {
		conn := w.raw(nil)
		all := connectPacket(ls[0], m)
		all = mqttest.AppendPublish(all, m.version, &mqttest.Publish{Topic: user(ls[1]), Payload: []byte("byte by byte"), QoS: 1, ID: 1})
		half := mqttest.AppendPublish(nil, m.version, &mqttest.Publish{Topic: user(ls[1]), Payload: []byte("half"), QoS: 1, ID: 2})
		for _, b := range append(all, half[:len(half)-1]...) {
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		bob.texts(bob.me(), "byte by byte")
		conn.Close()
	}
	w.connect(ls[0], v5).send(bob.me(), "end")
	bob.texts(bob.me(), "end") // and not the half
}

// Shows MQTT3-3.1.2-24, MQTT5-3.1.2-22.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{Args: withConfig(t, "keepalive:\n  min: 1s\n  max: 20m\n")})
	inModes(t, versions, func(t *testing.T, m mode) {
		w := w.in(t)
		l := w.logins("alice/laptop")[0]
		for _, seconds := range []uint16{0, 65535} {
			o := options(m)
			o.KeepAlive = seconds
			c := w.connectWith(l, m, o)
			if told := c.ConnAck().Props.Numbers[0x13]; m.version == mqttest.V5 && told != 1200 {
				t.Errorf("keep alive %d: told %d, want 1200", seconds, told)
			}
			c.inbox()
			c.send(c.me(), "fine")
		}
		o := options(m)
		o.KeepAlive = 1
		begin := time.Now()
		if code := w.connectWith(l, m, o).ended(); m.version == mqttest.V5 && code != 0x8d {
			t.Errorf("a silent connection ended with %#02x, want 0x8d", code)
		}
		if after := time.Since(begin); after < time.Second {
			t.Errorf("it ended after %v already", after)
		}
	})
}
