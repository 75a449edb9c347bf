package opencrash_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
	"tidings/topics"
)

const (
	queueLimit = 600 // messages that may wait for one session
	lagLimit   = 150 // publishers wait while a connected subscriber is further behind
	absentee   = "absent"
	denyTopics = "open/deny/#"
)

func seenByAll(topic string) bool { return strings.HasPrefix(topic, "open/all/") }
func denied(topic string) bool    { return topics.Match(denyTopics, topic) }
func flooded(topic string) bool   { return strings.HasPrefix(topic, "open/full/") }
func retained(topic string) bool {
	return strings.HasPrefix(topic, "open/keep/") || strings.HasSuffix(topic, "/kept")
}

// recorder gathers what all clients do.
type recorder struct {
	began time.Time

	mu     sync.Mutex
	events []event
}

func (r *recorder) add(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.began).Microseconds()
	r.events = append(r.events, e)
}

// world is everything that lives through one test.
type world struct {
	t       *testing.T
	srv     *server.Server
	open    string // address of the conformance listener
	rec     recorder
	refuses bool // a full queue refuses; else its oldest message goes
	faults  atomic.Int64
	shown   map[string]int // by what is wrong; guarded by rec.mu

	pubs   []*publisher
	subs   []*subscriber
	pair   []*subscriber // those with the shared subscription
	absent *subscriber
	flood  *publisher

	witness *subscriber // of what a client of paho.golang publishes

	load  atomic.Bool // new messages are published
	rough atomic.Bool // links are cut, acknowledgements held back
	last  atomic.Bool // each publisher publishes one message more
}

// wrong reports a broken promise. Of those in the same words only some are shown: one fault shows in many messages.
func (w *world) wrong(format string, args ...any) {
	w.faults.Add(1)
	text := fmt.Sprintf(format, args...)
	kind := digits.ReplaceAllString(text, "")
	w.rec.mu.Lock()
	w.shown[kind]++
	n := w.shown[kind]
	w.rec.mu.Unlock()
	if n <= 3 {
		w.t.Error(text)
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// newWorld starts the server and connects every client for the first time.
func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, rec: recorder{began: time.Now()}, refuses: seed%2 == 0, shown: make(map[string]int)}
	addr, err := server.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	w.open = addr
	policy := "drop_oldest"
	if w.refuses {
		policy = "refuse"
	}
	w.srv = server.Run(t, server.Config{Args: []string{"--conformance", addr}, Env: []string{
		"TIDINGS_OPEN_TOPICS=open/#", "TIDINGS_ACCESS=deny * publish " + denyTopics,
		"TIDINGS_OPEN_QUEUE=" + strconv.Itoa(queueLimit), "TIDINGS_OPEN_QUEUE_POLICY=" + policy,
	}})
	w.makeClients(seed)
	for _, s := range w.subs {
		if err := s.c.connect(t.Context()); err != nil {
			t.Fatalf("%s: %v", s.c.name, err)
		}
		if err := s.subscribe(t.Context()); err != nil {
			t.Fatalf("%s: %v", s.c.name, err)
		}
	}
	for _, p := range w.pubs {
		if err := p.c.connect(t.Context()); err != nil {
			t.Fatalf("%s: %v", p.c.name, err)
		}
	}
	return w
}

const (
	v3 = mqttest.V311
	v5 = mqttest.V5
)

// makeClients makes all kinds of them: of both versions, with accounts and on the conformance listener.
func (w *world) makeClients(seed uint64) {
	w.t.Helper()
	if err := w.srv.AddUsers(w.t.Context(), "alice"); err != nil {
		w.t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1<<33))
	for _, k := range []struct {
		name    string
		version byte
		kind    publisherKind
	}{
		{"p0", v5, restricted}, {"p1", v3, restricted}, {"open-p2", v5, ordinary}, {"open-p3", v3, ordinary}, {"open-flood", v5, flooding},
	} {
		p := &publisher{c: w.client(k.name, k.version, rng), kind: k.kind}
		p.c.role = p
		w.pubs = append(w.pubs, p)
		w.flood = p // the last
	}
	both := &union{taken: make(map[named]bool)}
	for _, k := range []struct {
		name    string
		version byte
		max     uint16
		lazy    bool
		filters []mqttest.Subscription
	}{
		{"open-s100", v5, 100, false, []mqttest.Subscription{{Filter: "open/all/#", Options: 2}, {Filter: denyTopics, Options: 2}}},
		{"s3-overlap", v3, 0, true, []mqttest.Subscription{{Filter: "open/all/#", Options: 1}, {Filter: "open/all/+/a", Options: 2}, {Filter: "open/all/p0/+", Options: 2}}},
		{"s3", v5, 3, false, []mqttest.Subscription{{Filter: "open/all/+/+", Options: 2}, {Filter: denyTopics, Options: 1}}},
		{"s1", v5, 1, false, []mqttest.Subscription{{Filter: "open/all/p0/#", Options: 2}}},
		{"open-q1", v3, 0, false, []mqttest.Subscription{{Filter: "open/all/#", Options: 1}}},
		{"q1-lazy", v5, 20, true, []mqttest.Subscription{{Filter: "open/all/+/b", Options: 1}, {Filter: "open/all/open-p2/#", Options: 1}}},
		{"pair-a", v5, 10, true, []mqttest.Subscription{{Filter: "$share/pair/open/all/#", Options: 2}}},
		{"pair-b", v5, 0, false, []mqttest.Subscription{{Filter: "$share/pair/open/all/#", Options: 2}}},
		{"s-paho", v5, 5, false, []mqttest.Subscription{{Filter: pahoTopics, Options: 2}}},
		{absentee, v5, 10, false, []mqttest.Subscription{{Filter: "open/full/#", Options: 2}}},
	} {
		s := &subscriber{
			c: w.client(k.name, k.version, rng), filters: k.filters, max: int(k.max), lazy: k.lazy, known: make(map[uint16]string), tally: newTally(),
		}
		s.c.role, s.c.opts.ReceiveMaximum, s.c.away = s, k.max, k.name == absentee
		w.subs = append(w.subs, s)
		switch {
		case s.c.away:
			w.absent, s.loose = s, true
		case k.name == "s-paho":
			w.witness = s
		case strings.HasPrefix(k.name, "pair-"):
			s.pair, s.loose = both, true
			w.pair = append(w.pair, s)
		}
	}
}

// client makes a client with an account, or of the conformance listener if its name says so.
func (w *world) client(name string, version byte, rng *rand.Rand) *client {
	w.t.Helper()
	c := &client{w: w, name: name, addr: w.srv.MQTT, opts: mqttest.Options{Version: version, ClientID: name}, rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
	if strings.HasPrefix(name, "open-") {
		c.addr = func() string { return w.open }
		return c
	}
	logins, err := w.srv.AddDevices(w.t.Context(), server.Device{User: "alice", Device: name})
	if err != nil {
		w.t.Fatal(err)
	}
	c.opts.User, c.opts.Password = logins[0].User, logins[0].Token
	return c
}

// run lets all clients live until stop is called, which waits for them.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	for _, p := range w.pubs {
		wg.Go(func() { p.c.live(ctx) })
	}
	for _, s := range w.subs {
		wg.Go(func() { s.c.live(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// roomFor tells whether all that see everything that a publisher publishes keep up.
func (w *world) roomFor(p *publisher) bool {
	if p.kind == flooding {
		return true
	}
	for _, s := range w.subs {
		if !s.seesAllOf(p) {
			continue
		}
		lag := int64(0)
		for _, other := range w.pubs {
			if s.seesAllOf(other) {
				lag += other.regular.Load()
			}
		}
		for _, m := range w.together(s) {
			lag -= m.distinct.Load()
		}
		if lag > lagLimit {
			return false
		}
	}
	return true
}

func (s *subscriber) seesAllOf(p *publisher) bool {
	_, one := s.wants(&message{topic: "open/all/" + p.c.name + "/a"})
	_, two := s.wants(&message{topic: "open/all/" + p.c.name + "/b"})
	return one && two
}

// together returns those among which a message for s is divided.
func (w *world) together(s *subscriber) []*subscriber {
	if slices.Contains(w.pair, s) {
		return w.pair
	}
	return []*subscriber{s}
}
