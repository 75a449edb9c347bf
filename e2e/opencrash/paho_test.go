package opencrash_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"

	"tidings/internal/crashtest"
)

// pahoClient is a client of paho.golang that comes back until ctx ends. Its session state, with which it sends again and knows
// what it has got, is the library's.
type pahoClient struct {
	w       *world
	name    string
	session *state.State
	take    func(paho.PublishReceived) (bool, error) // nil: it only publishes
	done    chan struct{}

	mu    sync.Mutex
	conns int
	now   *paho.Client // nil while there is no connection
}

// pahoPair are two of them: one publishes, the other receives, each with QoS 1 and 2. A subscriber of ours receives the same.
type pahoPair struct {
	w    *world
	pub  *pahoClient
	sub  *pahoClient
	ends context.CancelFunc

	mu   sync.Mutex
	got  tally
	sent []*pahoMessage
}

// pahoMessage is one publish; sure tells that the library reported its acknowledgement. Others may be sent again by it.
type pahoMessage struct {
	named
	qos  byte
	sure bool
}

const (
	pahoWorkers = 4
	pahoTopics  = "open/paho/#"
)

// startPaho connects the pair and subscribes.
func (w *world) startPaho() *pahoPair {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	p := &pahoPair{w: w, ends: cancel, got: newTally()}
	p.pub = w.pahoClient("paho-pub", nil)
	p.sub = w.pahoClient("paho-sub", p.take) // which looks at p.sub
	p.pub.start(ctx)
	p.sub.start(ctx)
	return p
}

func (w *world) pahoClient(name string, take func(paho.PublishReceived) (bool, error)) *pahoClient {
	return &pahoClient{w: w, name: name, session: state.NewInMemory(), take: take, done: make(chan struct{})}
}

// start connects, subscribes and stays.
func (c *pahoClient) start(ctx context.Context) {
	t := c.w.t
	t.Helper()
	if err := c.connect(ctx); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if c.take != nil {
		_, err := c.now.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: pahoTopics, QoS: 2}}})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
	}
	go c.live(ctx)
}

func (c *pahoClient) connect(ctx context.Context) error {
	conn, err := net.Dial("tcp", c.w.open)
	if err != nil {
		return err
	}
	cfg := paho.ClientConfig{ClientID: c.name, Conn: conn, Session: c.session}
	if c.take != nil {
		cfg.OnPublishReceived = []func(paho.PublishReceived) (bool, error){c.take}
	}
	client := paho.NewClient(cfg)
	c.mu.Lock()
	c.conns++
	n := c.conns
	c.mu.Unlock()
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	expiry := uint32(math.MaxUint32)
	ack, err := client.Connect(within, &paho.Connect{
		ClientID: c.name, KeepAlive: 30, Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry},
	})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	c.w.rec.add(event{Who: c.name, What: "CONNACK", Conn: n})
	if n > 1 && !ack.SessionPresent {
		c.w.wrong("%s: the session is gone", c.name)
	}
	c.mu.Lock()
	c.now = client
	c.mu.Unlock()
	return nil
}

// live comes back until ctx ends.
func (c *pahoClient) live(ctx context.Context) {
	defer close(c.done)
	for ctx.Err() == nil {
		now := c.client()
		if now == nil {
			if c.connect(ctx) != nil {
				crashtest.Between(ctx, rand.New(rand.NewPCG(1, 2)), 10*time.Millisecond, 30*time.Millisecond)
			}
			continue
		}
		select {
		case <-now.Done():
		case <-ctx.Done():
			_ = now.Disconnect(&paho.Disconnect{}) // the server may be gone
			<-now.Done()
		}
		c.mu.Lock()
		c.now = nil
		c.mu.Unlock()
	}
}

func (c *pahoClient) client() *paho.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *pahoClient) connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns
}

// take is called by the library for each message that it has not given to the application before.
func (p *pahoPair) take(r paho.PublishReceived) (bool, error) {
	of, number, _ := strings.Cut(string(r.Packet.Payload), " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		p.w.wrong("paho-sub: %s is not one of ours", r.Packet.Payload)
		return true, nil
	}
	e := event{
		Who: "paho-sub", What: "PUBLISH in", Of: of, N: n, ID: r.Packet.PacketID, QoS: r.Packet.QoS, Dup: r.Packet.Duplicate(),
		Conn: p.sub.connections(),
	}
	p.w.rec.add(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	if what := p.got.add(named{of, n}, e.QoS, e.Dup, e.Conn); what != "" {
		p.w.wrong("paho-sub (connection %d): %s: %s %d, identifier %d, QoS %d, DUP %v", e.Conn, what, of, n, e.ID, e.QoS, e.Dup)
	}
	return true, nil
}

// work publishes one message after the other until the load ends.
func (p *pahoPair) work(ctx context.Context, worker int) {
	name := fmt.Sprintf("paho-%d", worker)
	for n := 1; p.w.load.Load(); n++ {
		var client *paho.Client
		if !crashtest.Await(ctx, 20*time.Second, func() bool { client = p.pub.client(); return client != nil }) {
			return
		}
		m := &pahoMessage{named: named{name, n}, qos: byte(1 + n%2)}
		p.mu.Lock()
		p.sent = append(p.sent, m)
		p.mu.Unlock()
		p.w.rec.add(event{Who: "paho-pub", What: "PUBLISH out", Of: name, N: n, QoS: m.qos})
		answer, err := client.Publish(ctx, &paho.Publish{Topic: "open/paho/" + name, QoS: m.qos, Payload: fmt.Appendf(nil, "%s %d", name, n)})
		e := event{Who: "paho-pub", What: "acknowledged", Of: name, N: n}
		switch {
		case err != nil:
			e.What, e.Text = "unsure", err.Error()
		case answer.ReasonCode >= 0x80: // of a PUBREC, which the library does not call an error
			e.What, e.Text = "unsure", fmt.Sprintf("reason code %#x", answer.ReasonCode)
		}
		p.w.rec.add(e)
		p.mu.Lock()
		m.sure = e.What == "acknowledged"
		p.mu.Unlock()
	}
}

// run lets the pair work; stop waits until the load has ended and all that was acknowledged has come.
func (p *pahoPair) run() (stop func()) {
	var wg sync.WaitGroup
	for i := range pahoWorkers {
		wg.Go(func() { p.work(p.w.t.Context(), i) })
	}
	return func() {
		wg.Wait()
		crashtest.Await(p.w.t.Context(), 20*time.Second, p.complete)
		p.ends()
		<-p.pub.done
		<-p.sub.done
	}
}

func (p *pahoPair) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.sent {
		if m.sure && p.got.taken[m.named] == nil {
			return false
		}
	}
	return true
}

// judge runs when all clients have ended.
func (p *pahoPair) judge() {
	p.mu.Lock()
	defer p.mu.Unlock()
	sure := 0
	for _, m := range p.sent {
		if !m.sure {
			continue
		}
		sure++
		for who, got := range map[string]*tally{"paho-sub": &p.got, p.w.witness.c.name: &p.w.witness.tally} {
			switch a := got.taken[m.named]; {
			case a == nil:
				p.w.wrong("%s does not have %s %d (QoS %d), which was acknowledged; it has%s", who, m.publisher, m.n, m.qos, got.highs())
			case m.qos == 2 && a.times > 1:
				p.w.wrong("%s has %s %d (QoS 2) %d times", who, m.publisher, m.n, a.times)
			}
		}
	}
	p.w.t.Logf("paho.golang: %d publishes, %d acknowledged to the caller, %d connections", len(p.sent), sure, p.sub.connections())
}
