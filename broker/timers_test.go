package broker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// pipes is a server on in-memory connections, whose timers run in synctest's time.
type pipes struct {
	t      *testing.T
	engine *fakeEngine
	broker *broker.Server
	plain  bool // connections are for conformance tests
}

func servePipes(t *testing.T, cfg broker.Config) *pipes {
	t.Helper()
	e := newFakeEngine()
	b, err := broker.NewForTest(cfg, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &pipes{t: t, engine: e, broker: b}
}

func (p *pipes) stop() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.broker.Shutdown(ctx); err != nil {
		p.t.Errorf("shutdown: %v", err)
	}
}

func (p *pipes) conn() net.Conn {
	ours, theirs := net.Pipe()
	go p.broker.ServeConnForTest(theirs, p.plain)
	return ours
}

func (p *pipes) dial(o mqttest.Options) *mqttest.Client {
	p.t.Helper()
	o.Conn = p.conn()
	if o.User == "" {
		o.User = "alice"
	}
	o.Password = o.User
	c, err := mqttest.Dial(p.t.Context(), o)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// between fails the test unless d lies between the bounds.
func between(t *testing.T, what string, d, low, high time.Duration) {
	t.Helper()
	if d < low || d > high {
		t.Errorf("%s after %v, want between %v and %v", what, d, low, high)
	}
}

func TestSilentConnectionIsClosed(t *testing.T) {
	for _, sent := range []string{"", "10", "10 0d 00 04 4d 51"} {
		synctest.Test(t, func(t *testing.T) {
			p := servePipes(t, broker.Config{})
			defer p.stop()
			c := p.conn()
			begun := time.Now()
			if sent != "" {
				c.Write(unhex(t, sent))
			}
			if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
				t.Errorf("read %x %v", b, err)
			}
			between(t, "closed", time.Since(begun), 9*time.Second, 12*time.Second)
			synctest.Wait()
			if n := p.broker.Stats().Closed["connect_timeout"]; n != 1 {
				t.Errorf("closed: %v", p.broker.Stats().Closed)
			}
		})
	}
}

// Shows MQTT3-3.1.2-24, MQTT5-3.1.2-21, MQTT5-3.1.2-22, MQTT5-3.2.2-21, MQTT5-3.2.2-22.
func TestKeepAlive(t *testing.T) {
	cases := []struct {
		version   byte
		keepAlive uint16
		closed    time.Duration // 0: never
	}{
		{mqttest.V311, 10, 15 * time.Second},
		{mqttest.V311, 0, 0},
		{mqttest.V311, 65535, 98302 * time.Second},
		{mqttest.V5, 40, 60 * time.Second},
		{mqttest.V5, 1, 45 * time.Second},
		{mqttest.V5, 0, 1800 * time.Second},
		{mqttest.V5, 65535, 1800 * time.Second},
	}
	for _, k := range cases {
		synctest.Test(t, func(t *testing.T) {
			p := servePipes(t, broker.Config{})
			defer p.stop()
			c := p.dial(mqttest.Options{Version: k.version, ClientID: "c", KeepAlive: k.keepAlive, Clean: true})
			begun := time.Now()
			wait := time.NewTimer(30 * time.Hour)
			select {
			case <-c.Done():
			case <-wait.C:
			}
			if k.closed == 0 {
				select {
				case <-c.Done():
					t.Errorf("%+v: closed after %v", k, time.Since(begun))
				default:
				}
				c.Close()
				return
			}
			between(t, "closed", time.Since(begun), k.closed-time.Second, k.closed+2*time.Second)
			if d, ok := errors.AsType[*mqttest.Disconnected](c.Err()); k.version == mqttest.V5 && (!ok || d.Code != 0x8d) {
				t.Errorf("%+v: %v", k, c.Err())
			}
		})
	}
}

func TestPingsKeepAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, broker.Config{})
		defer p.stop()
		c := p.dial(mqttest.Options{Version: mqttest.V311, ClientID: "c", KeepAlive: 10, Clean: true})
		for range 100 {
			time.Sleep(14 * time.Second) // synctest's time: nothing waits
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c.Disconnect()
	})
}

func (p *pipes) posts() []post {
	synctest.Wait()
	p.engine.mu.Lock()
	defer p.engine.mu.Unlock()
	return append([]post(nil), p.engine.posts...)
}

func willWith(delay uint32) *mqttest.Will {
	w := &mqttest.Will{Topic: "u/bob", Payload: []byte("gone")}
	if delay > 0 {
		w.Props = (&mqttest.Properties{}).SetNumber(mqttest.PropWillDelay, delay)
	}
	return w
}

// Shows MQTT5-3.1.2-8, MQTT5-3.1.2-10, MQTT5-3.1.3-9, MQTT5-3.14.4-3.
func TestWillMessage(t *testing.T) {
	const delay = 30
	options := mqttest.Options{Version: mqttest.V5, ClientID: "c", SessionExpiry: 1000, Will: willWith(delay)}
	cases := []struct {
		name string
		end  func(c *mqttest.Client)
		then func(p *pipes) // after 10 s
		sent bool
	}{
		{"network failure", (*mqttest.Client).Drop, nil, true},
		{"DISCONNECT", (*mqttest.Client).Disconnect, nil, false},
		{"DISCONNECT with will", func(c *mqttest.Client) { c.DisconnectWith(4, nil) }, nil, true},
		{"protocol error", func(c *mqttest.Client) { c.WriteRaw([]byte{0x00, 0x00}); <-c.Done() }, nil, true},
		{"connects again", (*mqttest.Client).Drop, func(p *pipes) { p.dial(mqttest.Options{Version: mqttest.V5, ClientID: "c"}) }, false},
		{"another device connects", (*mqttest.Client).Drop, func(p *pipes) { p.dial(mqttest.Options{Version: mqttest.V5, ClientID: "dd"}) }, true},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := servePipes(t, broker.Config{})
				defer p.stop()
				k.end(p.dial(options))
				time.Sleep(10 * time.Second)
				if len(p.posts()) > 0 {
					t.Error("sent before its delay")
				}
				if k.then != nil {
					k.then(p)
				}
				time.Sleep(25 * time.Second)
				posts := p.posts()
				if !k.sent {
					if len(posts) > 0 {
						t.Errorf("sent: %+v", posts)
					}
					return
				}
				if want := (post{"u/bob", "gone", "will:1:1", "alice"}); len(posts) != 1 || posts[0] != want {
					t.Errorf("sent: %+v", posts)
				}
			})
		})
	}
}

// Shows MQTT3-3.1.2-8.
func TestWillWithoutDelayIsSentAtOnce(t *testing.T) {
	for _, version := range []byte{mqttest.V311, mqttest.V5} {
		synctest.Test(t, func(t *testing.T) {
			p := servePipes(t, broker.Config{})
			defer p.stop()
			c := p.dial(mqttest.Options{Version: version, ClientID: "c", Clean: true, KeepAlive: 30, Will: willWith(0)})
			<-c.Done() // by its keep alive
			if posts := p.posts(); len(posts) != 1 {
				t.Errorf("sent: %+v", posts)
			}
		})
	}
}

func TestSessionExpiry(t *testing.T) {
	cases := []struct {
		name    string
		expiry  uint32
		props   *mqttest.Properties // of DISCONNECT
		away    time.Duration
		present bool
	}{
		{"within", 100, nil, 90 * time.Second, true},
		{"over", 100, nil, 110 * time.Second, false},
		{"changed by DISCONNECT", 100, (&mqttest.Properties{}).SetNumber(mqttest.PropSessionExpiry, 300), 110 * time.Second, true},
		{"never", 0xffffffff, nil, 20 * time.Hour, true},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := servePipes(t, broker.Config{})
				defer p.stop()
				o := mqttest.Options{Version: mqttest.V5, ClientID: "c", SessionExpiry: k.expiry}
				p.dial(o).DisconnectWith(0, k.props)
				synctest.Wait()
				time.Sleep(k.away)
				c := p.dial(o)
				if got := c.ConnAck().SessionPresent; got != k.present {
					t.Errorf("session present %v, want %v", got, k.present)
				}
				c.Disconnect()
			})
		})
	}
}

func TestStuckClientIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, broker.Config{OutputLimit: 1000})
		defer p.stop()
		nc := p.conn()
		hello := mqttest.AppendConnect(nil, &mqttest.Options{Version: mqttest.V311, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		nc.Write(hello)
		io.ReadFull(nc, make([]byte, 4))
		nc.Write(mqttest.AppendSubscribe(nil, mqttest.V311, 1, nil, []mqttest.Subscription{{Filter: "u/alice"}}))
		io.ReadFull(nc, make([]byte, 5))
		begun := time.Now()
		s := p.engine.session("alice/c")
		for range 3 { // nobody reads
			s.deliver("u/alice", "hello")
			s.o.Link.Flush()
		}
		<-s.gone
		between(t, "closed", time.Since(begun), 9*time.Second, 12*time.Second)
		nc.Close()
	})
}
