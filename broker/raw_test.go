package broker_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// rawConn speaks bytes to a server.
type rawConn struct {
	t *testing.T
	net.Conn
}

func (s *server) raw() *rawConn {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	return &rawConn{s.t, nc}
}

// login sends a CONNECT and reads the CONNACK.
func (c *rawConn) login(o mqttest.Options) {
	c.t.Helper()
	c.send(mqttest.AppendConnect(nil, &o), 0)
	first, body := c.packet()
	if first != 0x20 || body[1] != 0 {
		c.t.Fatalf("CONNACK %#x %x", first, body)
	}
}

// packet reads one packet.
func (c *rawConn) packet() (first byte, body []byte) {
	c.t.Helper()
	var b [1]byte
	read := func() byte {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			c.t.Fatalf("read: %v", err)
		}
		return b[0]
	}
	first = read()
	n, shift := 0, 0
	for {
		x := read()
		n |= int(x&0x7f) << shift
		if shift += 7; x < 0x80 {
			break
		}
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(c, body); err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return first, body
}

// send writes b, step bytes a write; zero: all at once.
func (c *rawConn) send(b []byte, step int) {
	if step == 0 {
		step = max(len(b), 1)
	}
	for len(b) > 0 {
		n := min(step, len(b))
		if _, err := c.Write(b[:n]); err != nil {
			return // the server may have closed already
		}
		b = b[n:]
	}
}

// rest reads until the server closes, and returns what came in hex.
func (c *rawConn) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		c.t.Fatalf("the server did not close politely: %v after %x", err, b)
	}
	return hex.EncodeToString(b)
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '\t' {
			return -1
		}
		return r
	}, s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// badPacket is a packet after a login, and what answers it: hex of all that the
// server sends before it closes, "" where it just closes. Those of MQTT 3.1.1 are
// closed without a word.
type badPacket struct {
	name    string
	version byte
	send    string
	want    string
}

const anyVersion = 0

var badPackets = []badPacket{
	{"reserved type 0", anyVersion, "00 00", "e0028200"},
	{"CONNACK from a client", anyVersion, "20 02 00 00", "e0028200"},
	{"SUBACK from a client", anyVersion, "90 03 00 01 00", "e0028200"},
	{"PINGRESP from a client", anyVersion, "d0 00", "e0028200"},
	{"AUTH without a method", 5, "f0 00", "e0028200"},
	{"AUTH in 3.1.1", 4, "f0 00", ""},
	{"five length bytes", anyVersion, "30 ff ff ff ff 01", "e0028100"},
	{"length longer than needed", anyVersion, "c0 80 00", "e0028100"},
	{"256 MB", 5, "30 ff ff ff 7f", "e0029500"},
	{"256 MB", 4, "30 ff ff ff 7f", ""},
	{"large SUBSCRIBE", 5, "82 ff ff ff 01", "e0029500"},
	{"large SUBSCRIBE", 4, "82 ff ff ff 01", ""},
	{"PINGREQ flags", anyVersion, "c1 00", "e0028100"},
	{"PINGREQ with a body", anyVersion, "c0 01 00", "e0028100"},
	{"SUBSCRIBE flags", anyVersion, "80 00", "e0028100"},
	{"UNSUBSCRIBE flags", anyVersion, "a0 00", "e0028100"},
	{"PUBREL flags", anyVersion, "60 02 00 01", "e0028100"},
	{"PUBACK flags", anyVersion, "42 02 00 01", "e0028100"},
	{"DISCONNECT flags", anyVersion, "e1 00", "e0028100"},

	{"PUBLISH QoS 3", anyVersion, "36 06 00 01 61 00 01 78", "e0028100"},
	{"PUBLISH DUP with QoS 0", anyVersion, "38 04 00 01 61 78", "e0028100"},
	{"PUBLISH empty", anyVersion, "30 00", "e0028100"},
	{"PUBLISH topic cut short", anyVersion, "30 03 00 05 61", "e0028100"},
	{"PUBLISH without identifier", anyVersion, "32 03 00 01 61", "e0028100"},
	{"PUBLISH identifier 0", anyVersion, "32 05 00 01 61 00 00", "e0028100"},
	{"PUBLISH topic not UTF-8", anyVersion, "30 04 00 02 c3 28", "e0028100"},
	{"PUBLISH topic with a surrogate", anyVersion, "30 05 00 03 ed a0 80", "e0028100"},
	{"PUBLISH topic with NUL", anyVersion, "30 05 00 03 61 00 62", "e0028100"},
	{"PUBLISH topic with +", 4, "30 05 00 03 75 2f 2b", ""},
	{"PUBLISH topic with +", 5, "30 06 00 03 75 2f 2b 00", "e0029000"},
	{"PUBLISH topic with #", 5, "30 06 00 03 75 2f 23 00", "e0029000"},
	{"PUBLISH topic empty", 4, "30 02 00 00", ""},
	{"PUBLISH topic empty, no alias", 5, "30 03 00 00 00", "e0028200"},
	{"PUBLISH properties missing", 5, "30 03 00 01 61", "e0028100"},
	{"PUBLISH properties cut short", 5, "30 05 00 01 61 05 01", "e0028100"},
	{"PUBLISH unknown property", 5, "30 06 00 01 61 02 7f 00", "e0028100"},
	{"PUBLISH property of CONNECT", 5, "30 09 00 01 61 05 11 00 00 00 00", "e0028100"},
	{"PUBLISH subscription identifier", 5, "30 06 00 01 61 02 0b 01", "e0028100"},
	{"PUBLISH property twice", 5, "30 08 00 01 61 04 01 00 01 00", "e0028200"},
	{"PUBLISH payload format 2", 5, "30 06 00 01 61 02 01 02", "e0028200"},
	{"PUBLISH content type not UTF-8", 5, "30 08 00 01 61 04 03 00 01 ff", "e0028100"},
	{"PUBLISH user property cut short", 5, "30 08 00 01 61 04 26 00 01 6b", "e0028100"},
	{"PUBLISH topic alias 0", 5, "30 07 00 01 61 03 23 00 00", "e0029400"},
	{"PUBLISH topic alias over the maximum", 5, "30 07 00 01 61 03 23 00 01", "e0029400"},
	{"PUBLISH response topic with a wildcard", 5, "30 08 00 01 61 04 08 00 01 23", "e0028200"},

	{"PUBACK empty", anyVersion, "40 00", "e0028100"},
	{"PUBACK cut short", anyVersion, "40 01 00", "e0028100"},
	{"PUBACK identifier 0", anyVersion, "40 02 00 00", "e0028100"},
	{"PUBACK with a code in 3.1.1", 4, "40 03 00 01 00", ""},
	{"PUBACK unknown code", 5, "40 03 00 01 42", "e0028200"},
	{"PUBACK property of PUBLISH", 5, "40 06 00 01 00 02 01 00", "e0028100"},
	{"PUBACK with a tail", 5, "40 05 00 01 00 00 00", "e0028100"},
	{"PUBREC identifier 0", anyVersion, "50 02 00 00", "e0028100"},
	{"PUBREL identifier 0", anyVersion, "62 02 00 00", "e0028100"},
	{"PUBREL unknown code", 5, "62 03 00 01 87", "e0028200"},
	{"PUBCOMP cut short", anyVersion, "70 01 00", "e0028100"},

	{"SUBSCRIBE empty", anyVersion, "82 00", "e0028100"},
	{"SUBSCRIBE identifier 0", 4, "82 06 00 00 00 01 61 00", ""},
	{"SUBSCRIBE without filters", 4, "82 02 00 01", ""},
	{"SUBSCRIBE without filters", 5, "82 03 00 01 00", "e0028200"},
	{"SUBSCRIBE without options, which once killed a broker", 5, "82 06 00 01 00 00 01 61", "e0028100"},
	{"SUBSCRIBE without options", 4, "82 05 00 01 00 01 61", ""},
	{"SUBSCRIBE filter cut short", 5, "82 06 00 01 00 00 09 61", "e0028100"},
	{"SUBSCRIBE filter empty", 5, "82 06 00 01 00 00 00 00", "e0028100"},
	{"SUBSCRIBE filter not UTF-8", 5, "82 07 00 01 00 00 01 ff 00", "e0028100"},
	{"SUBSCRIBE QoS 3", anyVersion, "82 07 00 01 00 00 01 61 03", "e0028100"},
	{"SUBSCRIBE QoS 3", 4, "82 06 00 01 00 01 61 03", ""},
	{"SUBSCRIBE reserved option bits", 5, "82 07 00 01 00 00 01 61 40", "e0028100"},
	{"SUBSCRIBE 3.1.1 option bits", 4, "82 06 00 01 00 01 61 04", ""},
	{"SUBSCRIBE retain handling 3", 5, "82 07 00 01 00 00 01 61 30", "e0028200"},
	{"SUBSCRIBE identifier property 0", 5, "82 09 00 01 02 0b 00 00 01 61 00", "e0028200"},
	{"SUBSCRIBE identifier property twice", 5, "82 0b 00 01 04 0b 01 0b 02 00 01 61 00", "e0028200"},
	{"SUBSCRIBE shared with No Local", 5, "82 10 00 01 00 00 0a 24 73 68 61 72 65 2f 61 2f 62 04", "e0028200"},
	{"UNSUBSCRIBE empty", anyVersion, "a2 00", "e0028100"},
	{"UNSUBSCRIBE without filters", 5, "a2 03 00 01 00", "e0028200"},
	{"UNSUBSCRIBE without filters", 4, "a2 02 00 01", ""},
	{"UNSUBSCRIBE filter cut short", 4, "a2 05 00 01 00 02 61", ""},

	{"DISCONNECT with a body in 3.1.1", 4, "e0 01 00", ""},
	{"DISCONNECT unknown code", 5, "e0 01 01", "e0028200"},
	{"DISCONNECT property of PUBLISH", 5, "e0 04 00 02 01 00", "e0028100"},
	{"DISCONNECT with a tail", 5, "e0 03 00 00 00", "e0028100"},
	{"DISCONNECT that makes a session outlive its connection", 5, "e0 07 00 05 11 00 00 00 01", "e0028200"},
}

// Shows MQTT3-1.5.3-1, MQTT3-1.5.3-2, MQTT3-2.2.2-2, MQTT3-2.3.1-1, MQTT3-3.3.1-4, MQTT3-3.3.2-2.
// Shows MQTT3-3.6.1-1, MQTT3-3.8.1-1, MQTT3-3.8.3-3, MQTT3-3.8.3-4, MQTT3-3.10.1-1, MQTT3-3.10.3-2.
// Shows MQTT3-3.14.1-1, MQTT3-4.7.1-1, MQTT3-4.7.3-1, MQTT3-4.7.3-2, MQTT3-4.8.0-1, MQTT5-1.5.4-1.
// Shows MQTT5-1.5.4-2, MQTT5-1.5.5-1, MQTT5-2.1.3-1, MQTT5-2.2.1-3, MQTT5-3.2.2-17, MQTT5-3.3.1-4.
// Shows MQTT5-3.3.2-2, MQTT5-3.3.2-8, MQTT5-3.3.2-9, MQTT5-3.3.2-14, MQTT5-3.3.2-19, MQTT5-3.3.4-6.
// Shows MQTT5-3.6.1-1, MQTT5-3.8.1-1, MQTT5-3.8.3-2, MQTT5-3.8.3-4, MQTT5-3.8.3-5, MQTT5-3.10.1-1.
// Shows MQTT5-3.10.3-2, MQTT5-3.14.1-1, MQTT5-4.7.0-1, MQTT5-4.7.3-1, MQTT5-4.7.3-2, MQTT5-4.12.0-7.
// Shows MQTT5-4.13.1-1, MQTT5-4.13.2-1.
func TestMalformedPacketEndsConnectionWithItsReason(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		for _, p := range badPackets {
			if p.version != anyVersion && p.version != m.version {
				continue
			}
			want := p.want
			if m.version == mqttest.V311 {
				want = ""
			}
			for _, step := range []int{0, 1} {
				c := s.raw()
				c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
				c.send(unhex(t, p.send), step)
				if got := c.rest(); got != want {
					t.Errorf("%s (%s in steps of %d): answered %q, want %q", p.name, p.send, step, got, want)
				}
			}
		}
		// Whoever else is connected notices nothing.
		if err := s.dial("bob", "phone").Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if n := s.broker.Stats().Panics; n != 0 {
			t.Errorf("%d panics", n)
		}
	})
}

// Shows MQTT3-3.1.0-2, MQTT5-3.1.0-2.
func TestSecondConnectIsAProtocolError(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		o := mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true}
		for _, together := range []bool{false, true} {
			c := s.raw()
			hello := mqttest.AppendConnect(nil, &o)
			if together {
				c.send(bytes.Repeat(hello, 2), 0)
				c.packet()
			} else {
				c.login(o)
				c.send(hello, 0)
			}
			want := map[byte]string{mqttest.V311: "", mqttest.V5: "e0028200"}[m.version]
			if got := c.rest(); got != want {
				t.Errorf("answered %q, want %q", got, want)
			}
		}
	})
}
