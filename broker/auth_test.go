package broker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/broker"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/internal/mqttest"
)

// fakeExchange is the method ECHO of the fake engine: the client says who it is,
// is asked to prove it, and does so with its name and an exclamation mark.
type fakeExchange struct {
	e    *fakeEngine
	l    hooks.Login
	as   *delivery.Identity
	name string
}

func (e *fakeEngine) Begin(_ context.Context, l *hooks.Login, method string, as *delivery.Identity) (broker.ExchangeForTest, error) {
	if method != "ECHO" {
		return nil, hooks.ErrUnknownMethod
	}
	if l.Password != nil {
		return nil, fmt.Errorf("%w: an exchange with a password", hooks.ErrUnavailable)
	}
	return &fakeExchange{e: e, l: *l, as: as}, nil
}

func (x *fakeExchange) Next(ctx context.Context, data []byte) ([]byte, *delivery.Identity, error) {
	given := x.l.User
	switch {
	case data == nil && x.name == "":
		return nil, nil, nil
	case x.name == "":
		x.name = string(data)
		return []byte("prove " + x.name), nil, nil
	case string(data) == "busy":
		return nil, nil, hooks.ErrBusy
	case string(data) == "huge":
		return make([]byte, 1<<16), nil, nil
	case string(data) != x.name+"!", given != "" && given != x.name:
		return nil, nil, hooks.ErrBadCredentials
	case x.as != nil:
		return []byte("bye"), x.as, nil
	}
	x.l.User, x.l.Password = x.name, []byte(x.name)
	id, err := x.e.Login(ctx, &x.l)
	return []byte("hello"), &id, err
}

// appendAuth appends an AUTH packet as a client sends it.
func appendAuth(b []byte, code byte, method, data string) []byte {
	var props []byte
	if method != "" {
		props = append(binary.BigEndian.AppendUint16(append(props, 0x15), uint16(len(method))), method...)
	}
	if data != "" {
		props = append(binary.BigEndian.AppendUint16(append(props, 0x16), uint16(len(data))), data...)
	}
	return append(append(b, 0xf0, byte(2+len(props)), code, byte(len(props))), props...)
}

// withMethod is CONNECT with an authentication method.
func withMethod(o mqttest.Options, method, data string) []byte {
	o.Version, o.Clean = mqttest.V5, true
	if o.ClientID == "" {
		o.ClientID = "phone"
	}
	if o.Props == nil {
		o.Props = &mqttest.Properties{}
	}
	if method != "" {
		o.Props.SetString(mqttest.PropAuthMethod, method)
	}
	if data != "" {
		o.Props.SetString(mqttest.PropAuthData, data)
	}
	return mqttest.AppendConnect(nil, &o)
}

// wantAuth reads an AUTH packet of the server.
func (c *rawConn) wantAuth(code byte, data string) {
	c.t.Helper()
	first, body := c.packet()
	want := appendAuth(nil, code, "ECHO", data)[2:]
	if first != 0xf0 || !bytes.Equal(body, want) {
		c.t.Fatalf("got %#x %x, want AUTH %x", first, body, want)
	}
}

// prove logs in by the method ECHO and returns the CONNACK.
func (c *rawConn) prove(o mqttest.Options, user string) (connack []byte) {
	c.t.Helper()
	c.send(withMethod(o, "ECHO", user), 0)
	c.wantAuth(0x18, "prove "+user)
	c.send(appendAuth(nil, 0x18, "ECHO", user+"!"), 0)
	first, body := c.packet()
	if first != 0x20 || body[1] != 0 {
		c.t.Fatalf("CONNACK %#x %x", first, body)
	}
	return body
}

// runV5 runs a test body with both drivers.
func runV5(t *testing.T, body func(t *testing.T, m mode)) {
	run(t, func(t *testing.T, m mode) {
		if m.version == mqttest.V5 {
			body(t, m)
		}
	})
}

// Shows MQTT5-3.15.2-2, MQTT5-3.15.2-3, MQTT5-4.12.0-2, MQTT5-4.12.0-3, MQTT5-4.12.0-5.
func TestEnhancedAuthentication(t *testing.T) {
	runV5(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		for _, o := range []mqttest.Options{{}, {User: "alice"}, {User: "alice?SDK=x"}, {User: "alice", Password: "ignored"}} {
			c := s.raw()
			connack := c.prove(o, "alice")
			for _, want := range []string{"\x15\x00\x04ECHO", "\x16\x00\x05hello"} {
				if !bytes.Contains(connack, []byte(want)) {
					t.Errorf("user %q: CONNACK %x has no %x", o.User, connack, want)
				}
			}
			c.send([]byte{0xc0, 0}, 0)
			if first, _ := c.packet(); first != 0xd0 {
				t.Errorf("PINGREQ is answered by %#x", first)
			}
			s.engine.mu.Lock()
			if s.engine.sessions["alice/phone"] == nil {
				t.Errorf("sessions: %v", s.engine.sessions)
			}
			s.engine.mu.Unlock()
			c.Close()
		}
		// Without a first message the server asks for it; packets may come in pieces.
		c := s.raw()
		c.send(withMethod(mqttest.Options{}, "ECHO", ""), 1)
		c.wantAuth(0x18, "")
		c.send(appendAuth(nil, 0x18, "ECHO", "alice"), 1)
		c.wantAuth(0x18, "prove alice")
		c.send(appendAuth(nil, 0x18, "ECHO", "alice!"), 1)
		if first, body := c.packet(); first != 0x20 || body[1] != 0 {
			t.Errorf("CONNACK %#x %x", first, body)
		}
	})
}

func TestEnhancedAuthenticationAssignsClientIdentifiers(t *testing.T) {
	s := serve(t, mode{}, broker.Config{}, newFakeEngine(), nil)
	c := s.raw()
	o := mqttest.Options{Version: mqttest.V5, Clean: true}
	o.Props = (&mqttest.Properties{}).SetString(mqttest.PropAuthMethod, "ECHO").SetString(mqttest.PropAuthData, "alice")
	c.send(mqttest.AppendConnect(nil, &o), 0)
	c.wantAuth(0x18, "prove alice")
	c.send(appendAuth(nil, 0x18, "ECHO", "alice!"), 0)
	if _, body := c.packet(); !bytes.Contains(body, []byte("\x12\x00\x20guest-")) {
		t.Errorf("CONNACK %x assigns no client identifier", body)
	}
}

// Shows MQTT5-4.12.0-6.
func TestNoMethodNoAuthentication(t *testing.T) {
	s := serve(t, mode{version: mqttest.V5}, broker.Config{}, newFakeEngine(), nil)
	p := s.dial("alice", "phone").ConnAck().Props
	if m, ok := p.Strings[mqttest.PropAuthMethod]; ok {
		t.Errorf("CONNACK has the method %q", m)
	}
}

// Each is what a client sends behind the CONNECT of alice with the method ECHO, and
// all that the server says before it closes.
var badAuths = []struct{ name, send, want string }{
	{"wrong proof", auth(0x18, "ECHO", "alice?"), "2003008600"},
	{"too many", auth(0x18, "ECHO", "busy"), "2003009f00"},
	{"an answer that no packet holds", auth(0x18, "ECHO", "huge"), "2003008800"},
	{"no data", auth(0x18, "ECHO", ""), "2003008600"},
	{"another method", auth(0x18, "echo", "alice!"), "2003008200"},
	{"no method", auth(0x18, "", "alice!"), "2003008200"},
	{"nothing", "f000", "2003008200"},
	{"success", auth(0x00, "ECHO", "alice!"), "2003008200"},
	{"authenticate again", auth(0x19, "ECHO", "alice"), "2003008200"},
	{"unknown code", auth(0x17, "ECHO", "alice!"), "2003008200"},
	{"no properties", "f00118", "2003008100"},
	{"flags", "f1" + auth(0x18, "ECHO", "alice!")[2:], "2003008100"},
	{"method twice", "f01018" + "0e" + "1500044543484f" + "1500044543484f", "2003008200"},
	{"property of CONNECT", "f00718051100000001", "2003008100"},
	{"tail", "f00a18071500044543484f" + "00", "2003008100"},
	{"larger than 64 KiB", "f0818004", "2003009500"},
	{"PINGREQ", "c000", "2003008200"},
	{"PUBLISH", "30040001610078", "2003008200"},
	{"SUBSCRIBE", "8207000100000161" + "00", "2003008200"},
	{"second CONNECT", hex.EncodeToString(withMethod(mqttest.Options{}, "ECHO", "alice")), "2003008200"},
	{"DISCONNECT", "e000", ""},
	{"DISCONNECT with an unknown code", "e00101", "2003008200"},
}

func auth(code byte, method, data string) string {
	return hex.EncodeToString(appendAuth(nil, code, method, data))
}

// Shows MQTT5-3.1.2-30, MQTT5-3.15.1-1, MQTT5-3.15.2-1, MQTT5-4.12.0-4.
func TestBadAuthenticationIsAnsweredAndClosed(t *testing.T) {
	runV5(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		for _, p := range badAuths {
			for _, step := range []int{0, 1} {
				c := s.raw()
				c.send(withMethod(mqttest.Options{}, "ECHO", "alice"), 0)
				c.wantAuth(0x18, "prove alice")
				c.send(unhex(t, p.send), step)
				if got := c.rest(); got != p.want {
					t.Errorf("%s (%s, steps of %d): answered %q, want %q", p.name, p.send, step, got, p.want)
				}
			}
		}
		for _, tc := range []struct {
			name string
			send []byte
			want string
		}{
			{"unknown method", withMethod(mqttest.Options{User: "alice"}, "SCRAM-SHA-1", "x"), "2003008c00"},
			{"data without a method", withMethod(mqttest.Options{User: "alice"}, "", "x"), "2003008200"},
			{"user name that nobody can have", withMethod(mqttest.Options{User: "Alice"}, "ECHO", "x"), "2003008600"},
			{"AUTH first", appendAuth(nil, 0x18, "ECHO", "alice"), ""},
		} {
			c := s.raw()
			c.send(tc.send, 0)
			if got := c.rest(); got != tc.want {
				t.Errorf("%s: answered %q, want %q", tc.name, got, tc.want)
			}
		}
		c := s.raw()
		c.send(withMethod(mqttest.Options{User: "bob"}, "ECHO", "alice"), 0)
		c.wantAuth(0x18, "prove alice")
		c.send(appendAuth(nil, 0x18, "ECHO", "alice!"), 0)
		if got := c.rest(); got != "2003008600" {
			t.Errorf("another user than in CONNECT: answered %q", got)
		}
		stats := s.broker.Stats()
		if stats.Panics != 0 || stats.Refused["bad_auth_method"] != 1 || stats.Refused["bad_credentials"] == 0 {
			t.Errorf("%d panics, refused %v", stats.Panics, stats.Refused)
		}
	})
}

// Where nobody has an account there is nothing to prove.
func TestNoMethodWithoutAccounts(t *testing.T) {
	var served <-chan error
	t.Cleanup(func() { // after the server's shutdown
		if served == nil {
			return
		}
		if err := <-served; !errors.Is(err, broker.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	s := serve(t, mode{}, broker.Config{}, newFakeEngine(), nil)
	s.addr, served = listen(t, s.broker.ServeOpen)
	c := s.raw()
	c.send(withMethod(mqttest.Options{}, "ECHO", "alice"), 0)
	if got := c.rest(); got != "2003008c00" {
		t.Errorf("answered %q", got)
	}
}

// What comes behind CONNECT at once waits its turn.
func TestAuthenticationInOneWrite(t *testing.T) {
	runV5(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		c := s.raw()
		c.send(append(appendAuth(withMethod(mqttest.Options{}, "ECHO", "alice"), 0x18, "ECHO", "alice!"), 0xc0, 0), 0)
		c.wantAuth(0x18, "prove alice")
		if first, body := c.packet(); first != 0x20 || body[1] != 0 {
			t.Errorf("CONNACK %#x %x", first, body)
		}
		if first, _ := c.packet(); first != 0xd0 {
			t.Errorf("PINGREQ is answered by %#x", first)
		}
	})
}

func TestAuthenticationFitsTheClient(t *testing.T) {
	s := serve(t, mode{}, broker.Config{}, newFakeEngine(), nil)
	c := s.raw()
	c.send(withMethod(mqttest.Options{MaxPacketSize: 20}, "ECHO", "alice"), 0)
	if got := c.rest(); got != "2003009500" {
		t.Errorf("answered %q to a client that takes 20 bytes", got)
	}
}

// Shows MQTT5-4.12.1-1, MQTT5-4.12.1-2.
func TestReauthentication(t *testing.T) {
	runV5(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		c := s.raw()
		c.prove(mqttest.Options{}, "alice")
		for range 2 {
			c.send(appendAuth(nil, 0x19, "ECHO", "alice"), 1)
			c.wantAuth(0x18, "prove alice")
			c.send([]byte{0xc0, 0}, 0) // other traffic goes on
			if first, _ := c.packet(); first != 0xd0 {
				t.Errorf("PINGREQ is answered by %#x", first)
			}
			c.send(appendAuth(nil, 0x18, "ECHO", "alice!"), 1)
			c.wantAuth(0x00, "bye")
		}
		c.send(append(appendAuth(nil, 0x19, "ECHO", ""), 0xc0, 0), 0)
		c.wantAuth(0x18, "")
		if first, _ := c.packet(); first != 0xd0 {
			t.Errorf("PINGREQ is answered by %#x", first)
		}
	})
}

func TestBadReauthenticationEndsConnection(t *testing.T) {
	begin := auth(0x19, "ECHO", "alice")
	challenge := auth(0x18, "ECHO", "prove alice")
	runV5(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		for _, p := range []struct{ name, send, want string }{
			{"wrong proof", begin + auth(0x18, "ECHO", "alice?"), challenge + "e0028700"},
			{"another user", auth(0x19, "ECHO", "bob") + auth(0x18, "ECHO", "bob!"), auth(0x18, "ECHO", "prove bob") + "e0028700"},
			{"too many", begin + auth(0x18, "ECHO", "busy"), challenge + "e0028900"},
			{"twice at once", begin + begin, challenge + "e0028200"},
			{"another method", auth(0x19, "OTHER", "alice"), "e0028200"},
			{"no method", auth(0x19, "", "alice"), "e0028200"},
			{"nothing was begun", auth(0x18, "ECHO", "alice!"), "e0028200"},
			{"success", begin + auth(0x00, "ECHO", "alice!"), challenge + "e0028200"},
			{"nothing", "f000", "e0028200"},
			{"malformed", "f00119", "e0028100"},
		} {
			for _, step := range []int{0, 1} {
				c := s.raw()
				c.prove(mqttest.Options{ClientID: "reauth"}, "alice")
				c.send(unhex(t, p.send), step)
				if got := c.rest(); got != p.want {
					t.Errorf("%s (steps of %d): answered %q, want %q", p.name, step, got, p.want)
				}
			}
		}
		if n := s.broker.Stats().Panics; n != 0 {
			t.Errorf("%d panics", n)
		}
	})
}

// The time for CONNECT is the time for the whole exchange.
func TestAuthenticationHasTheDeadlineOfConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, broker.Config{})
		defer p.stop()
		c := p.conn()
		begun := time.Now()
		for _, b := range [][]byte{withMethod(mqttest.Options{}, "ECHO", ""), appendAuth(nil, 0x18, "ECHO", "alice")} {
			<-time.After(4 * time.Second)
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(c)
		if want := auth(0x18, "ECHO", "") + auth(0x18, "ECHO", "prove alice"); hex.EncodeToString(b) != want || err != nil {
			t.Errorf("read %x %v, want %s", b, err, want)
		}
		between(t, "closed", time.Since(begun), 9*time.Second, 12*time.Second)
		synctest.Wait()
		if n := p.broker.Stats().Closed["connect_timeout"]; n != 1 {
			t.Errorf("closed: %v", p.broker.Stats().Closed)
		}
	})
}

func TestReauthenticationHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, broker.Config{})
		defer p.stop()
		nc := p.conn()
		c := &rawConn{t, nc}
		c.prove(mqttest.Options{}, "alice")
		for _, wait := range []time.Duration{9 * time.Second, 11 * time.Second} {
			c.send(appendAuth(nil, 0x19, "ECHO", "alice"), 0)
			c.wantAuth(0x18, "prove alice")
			<-time.After(wait)
			c.send(appendAuth(nil, 0x18, "ECHO", "alice!"), 0)
			if wait < 10*time.Second {
				c.wantAuth(0x00, "bye")
			}
		}
		if got := c.rest(); got != "e0028700" {
			t.Errorf("a late proof is answered by %q", got)
		}
	})
}

// FuzzAuth feeds random bytes behind a CONNECT with a method: whatever they are,
// nothing panics, the split makes no difference, and without the proof nobody is
// let in.
func FuzzAuth(f *testing.F) {
	f.Add([]byte("alice"), appendAuth(appendAuth(nil, 0x18, "ECHO", "alice!"), 0x19, "ECHO", "alice"), uint16(3))
	f.Add([]byte(""), appendAuth(appendAuth(nil, 0x18, "ECHO", "alice"), 0x18, "ECHO", "alice?"), uint16(1))
	for i, p := range badAuths {
		f.Add([]byte("alice"), unhexRaw(p.send), uint16(i))
	}
	f.Fuzz(func(t *testing.T, first, data []byte, seed uint16) {
		if len(first) > 100 {
			return
		}
		all := append(withMethod(mqttest.Options{ClientID: "c"}, "ECHO", string(first)), data...)
		whole := broker.FeedForTest(t, newFakeEngine(), [][]byte{all})
		for _, step := range []int{1, int(seed%97) + 2} {
			var pieces [][]byte
			for p := all; len(p) > 0; {
				n := min(step, len(p))
				pieces = append(pieces, bytes.Clone(p[:n]))
				p = p[n:]
			}
			if got := broker.FeedForTest(t, newFakeEngine(), pieces); got != whole {
				t.Fatalf("in pieces of %d:\n%s\nwhole:\n%s", step, got, whole)
			}
		}
		if strings.Contains(whole, hex.EncodeToString([]byte("\x16\x00\x05hello"))) && !bytes.Contains(data, []byte("!")) {
			t.Fatalf("let in without a proof: %s", whole)
		}
	})
}
