package broker_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"tidings/broker"
	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/topics"
)

// fakeEngine stands in for package delivery where a test is about the wire. Its
// users are all those whose password is their name; everything that is published
// to u/… and g/… is delivered to every session that subscribes to it. Topics below
// open/ are open ones.
type fakeEngine struct {
	login func(l *hooks.Login) error                  // nil: the rule above
	judge func(p *delivery.Publish) *delivery.Refusal // nil: everything is accepted
	hold  chan struct{}                               // publishes are answered once it is closed; nil: at once
	panic func(p *delivery.Publish)                   // called in Turn.Publish
	eager bool                                        // publishes are answered before Turn.Publish returns
	subs  func(s delivery.Subscription) *delivery.Refusal
	post  func(p *delivery.Publish) error // nil: all is taken
	kept  []delivery.KeptSession          // at the start

	mu       sync.Mutex
	sessions map[string]*fakeSession // by user and device
	carrier  map[string][]byte
	epoch    map[string]uint32
	until    map[string]time.Time // end of the kept session
	closed   []delivery.CloseHow
	posts    []post
	posted   []delivery.Publish // the same, whole
	forgot   []string           // carrier state by ForgetCarrier
	held     [][]fakePublish
	seq      uint64
}

type post struct {
	topic, payload, cid string
	user                string
}

func newFakeEngine() *fakeEngine {
	return &fakeEngine{sessions: make(map[string]*fakeSession), carrier: make(map[string][]byte), epoch: make(map[string]uint32), until: make(map[string]time.Time)}
}

// fakeSession is a session of the fake engine. mu is held during calls of the
// link's methods, as the real one does.
type fakeSession struct {
	e    *fakeEngine
	id   delivery.Identity
	key  string
	o    delivery.OpenOptions
	gone chan struct{}

	mu       sync.Mutex
	subs     []delivery.Subscription
	tag      uint16
	acks     []uint16
	twice    map[uint16]bool // deliveries of QoS 2 in flight, and whether PUBREC has come
	writable int
	fed      int
	started  bool
	released []uint16
	pending  sync.WaitGroup
}

func (e *fakeEngine) Login(_ context.Context, l *hooks.Login) (delivery.Identity, error) {
	if e.login != nil {
		if err := e.login(l); err != nil {
			return delivery.Identity{}, err
		}
	} else if string(l.Password) != l.User {
		return delivery.Identity{}, hooks.ErrBadCredentials
	}
	actor := hooks.Actor{User: chat.UserID(len(l.User)), UserName: l.User, DeviceName: l.Client}
	if l.Client == "" {
		return delivery.Identity{Actor: actor, Guest: true}, nil
	}
	actor.Device = chat.DeviceID(len(l.Client))
	return delivery.Identity{Actor: actor}, nil
}

func (e *fakeEngine) Open(ctx context.Context, id delivery.Identity, o delivery.OpenOptions) (broker.SessionForTest, delivery.OpenInfo, error) {
	key := id.Actor.UserName + "/" + id.Actor.DeviceName
	for {
		e.mu.Lock()
		old := e.sessions[key]
		if old == nil {
			break
		}
		e.mu.Unlock()
		old.mu.Lock()
		old.o.Link.Close(delivery.ReasonTakenOver)
		old.mu.Unlock()
		select {
		case <-old.gone:
		case <-ctx.Done():
			return nil, delivery.OpenInfo{}, ctx.Err()
		}
	}
	defer e.mu.Unlock()
	s := &fakeSession{e: e, id: id, key: key, o: o, gone: make(chan struct{})}
	e.sessions[key] = s
	e.epoch[key]++
	info := delivery.OpenInfo{Epoch: e.epoch[key], Carrier: e.carrier[key]}
	info.Present = e.until[key].After(time.Now()) && !o.Clean
	return s, info, nil
}

func (e *fakeEngine) NewTurn() broker.TurnForTest { return &fakeTurn{e: e} }

func (e *fakeEngine) EnterOpen(_ context.Context, client string, _ netip.AddrPort) (delivery.Identity, error) {
	actor := hooks.Actor{User: 1000, UserName: "conformance", Device: chat.DeviceID(1000 + len(client)), DeviceName: client}
	return delivery.Identity{Actor: actor, Open: true}, nil
}

func (e *fakeEngine) IsOpen(id delivery.Identity, topic []byte) bool {
	return isOpen(id, string(topic))
}

func isOpen(id delivery.Identity, topic string) bool {
	if id.Open {
		first, _, _ := strings.Cut(topic, "/")
		return first != "u" && first != "g"
	}
	return strings.HasPrefix(topic, "open/") || strings.HasPrefix(topic, "+/") || topic == "#" // they see open topics
}

func (e *fakeEngine) Kept(_ context.Context, f func(delivery.KeptSession)) error {
	for _, k := range e.kept {
		f(k)
	}
	return nil
}

func (e *fakeEngine) ForgetCarrier(_ context.Context, _ delivery.Identity, carrier []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgot = append(e.forgot, string(carrier))
	return nil
}

func (e *fakeEngine) Post(_ context.Context, from delivery.Identity, p *delivery.Publish, cid string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.post != nil {
		if err := e.post(p); err != nil {
			return err
		}
	}
	e.posted = append(e.posted, *p)
	e.posts = append(e.posts, post{string(p.Topic), string(p.Payload), cid, from.Actor.UserName})
	return nil
}

func (e *fakeEngine) session(key string) *fakeSession {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[key]
}

func (e *fakeEngine) each(f func(s *fakeSession)) {
	e.mu.Lock()
	all := make([]*fakeSession, 0, len(e.sessions))
	for _, s := range e.sessions {
		all = append(all, s)
	}
	e.mu.Unlock()
	for _, s := range all {
		f(s)
	}
}

type fakeTurn struct {
	e       *fakeEngine
	pending []fakePublish
}

type fakePublish struct {
	s       *fakeSession
	topic   string
	payload string
	props   []byte // of open topics
	expiry  uint32
	retain  bool
	a       delivery.Answer
}

func (t *fakeTurn) Publish(s broker.SessionForTest, p *delivery.Publish) {
	if t.e.panic != nil {
		t.e.panic(p)
	}
	f := fakePublish{s: s.(*fakeSession), topic: string(p.Topic), payload: string(p.Payload), a: delivery.Answer{PacketID: p.PacketID, QoS: p.QoS}}
	if isOpen(f.s.id, f.topic) {
		f.props, f.expiry, f.retain = append([]byte(nil), p.Props...), p.Expiry, p.Retain
	} else if f.s.id.Open {
		f.a.Refusal = &delivery.Refusal{Code: delivery.CodeNotAllowed}
	} else if !strings.HasPrefix(f.topic, "u/") && !strings.HasPrefix(f.topic, "g/") {
		f.a.Refusal = &delivery.Refusal{Code: delivery.CodeUnknownTopic}
	} else if t.e.judge != nil {
		f.a.Refusal = t.e.judge(p)
	}
	t.add(f)
}

func (t *fakeTurn) Answer(s broker.SessionForTest, id uint16, qos byte, r *delivery.Refusal) {
	f := fakePublish{s: s.(*fakeSession), a: delivery.Answer{PacketID: id, QoS: qos, Refusal: r}}
	t.add(f)
}

func (t *fakeTurn) Received(s broker.SessionForTest, tag uint16, refused bool) bool {
	f := s.(*fakeSession)
	known := f.received(tag, refused)
	f.o.Link.Flush()
	return known
}

func (t *fakeTurn) Released(s broker.SessionForTest, id uint16, here bool) {
	f := s.(*fakeSession)
	f.mu.Lock()
	f.released = append(f.released, id)
	f.mu.Unlock()
	f.o.Link.Complete(id, here)
	f.o.Link.Flush()
}

func (t *fakeTurn) add(f fakePublish) {
	f.s.pending.Add(1)
	if t.pending = append(t.pending, f); t.e.eager {
		t.Commit()
	}
}

func (t *fakeTurn) Commit() {
	batch := t.pending
	t.pending = nil
	if len(batch) == 0 {
		return
	}
	if t.e.hold == nil {
		t.e.route(batch)
		return
	}
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	if t.e.held = append(t.e.held, batch); len(t.e.held) == 1 {
		go t.e.routeHeld()
	}
}

// routeHeld routes the batches that were held, in order.
func (e *fakeEngine) routeHeld() {
	<-e.hold
	for {
		e.mu.Lock()
		batch := e.held[0]
		e.mu.Unlock()
		e.route(batch)
		e.mu.Lock()
		e.held = e.held[1:]
		more := len(e.held) > 0
		e.mu.Unlock()
		if !more {
			return
		}
	}
}

// route answers a batch in order and delivers it.
func (e *fakeEngine) route(batch []fakePublish) {
	for i := range batch {
		f := &batch[i]
		if f.a.Refusal == nil && f.topic != "" {
			e.mu.Lock()
			e.seq++
			f.a.Seq, f.a.Time, f.a.Chat = e.seq, 1700000000000, []byte(f.topic)
			e.mu.Unlock()
		}
		f.a.Topic = []byte(f.topic)
		f.s.mu.Lock()
		f.a.Sent = f.s.want("u/" + f.s.id.Actor.UserName + "/sent")
		f.s.o.Link.Answer(&f.a)
		f.s.mu.Unlock()
		if f.a.Refusal == nil && f.topic != "" {
			e.each(func(s *fakeSession) { s.receive(f) })
		}
	}
	for i := range batch {
		batch[i].s.o.Link.Flush()
		batch[i].s.pending.Done()
	}
	e.each(func(s *fakeSession) { s.o.Link.Flush() })
}

// want returns the subscription to a topic. mu is held.
func (s *fakeSession) want(topic string) *delivery.Want {
	var w *delivery.Want
	for _, sub := range s.subs {
		if topics.Match(sub.Filter, topic) {
			if w == nil {
				w = &delivery.Want{}
			}
			w.QoS = max(w.QoS, s.grant(sub))
			if sub.ID > 0 {
				w.IDs = append(w.IDs, sub.ID)
			}
		}
	}
	return w
}

// grant is the highest QoS of a subscription's deliveries.
func (s *fakeSession) grant(sub delivery.Subscription) byte {
	if isOpen(s.id, sub.Filter) {
		return sub.QoS
	}
	return min(sub.QoS, 1)
}

// receive sends a publish if the session subscribes to its topic.
func (s *fakeSession) receive(f *fakePublish) {
	if !isOpen(f.s.id, f.topic) {
		s.deliver(f.topic, f.payload)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.want(f.topic)
	if w == nil || !s.started {
		return
	}
	s.send(&delivery.Delivery{
		Topic: []byte(f.topic), Payload: []byte(f.payload), QoS: min(w.QoS, f.a.QoS), Filters: w.IDs, Ordinary: true,
		Props: f.props, Expiry: f.expiry, Retain: f.retain,
	})
}

// send gives a delivery its tag and hands it to the link. mu is held.
func (s *fakeSession) send(d *delivery.Delivery) delivery.DeliverResult {
	if d.QoS > 0 {
		s.tag++
		d.Tag = s.tag
	}
	if d.QoS == 2 {
		if s.twice == nil {
			s.twice = make(map[uint16]bool)
		}
		s.twice[d.Tag] = false
	}
	return s.o.Link.Deliver(d)
}

// deliver sends one message if the session subscribes to its topic.
func (s *fakeSession) deliver(topic, payload string) delivery.DeliverResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.want(topic)
	if w == nil || !s.started {
		return delivery.Delivered
	}
	return s.send(&delivery.Delivery{Topic: []byte(topic), Payload: []byte(payload), ReplyTo: []byte(topic), QoS: w.QoS, Filters: w.IDs, Ordinary: true})
}

func (s *fakeSession) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
}

func (s *fakeSession) Expect([]delivery.Subscription) {}

func (s *fakeSession) Subscribe(_ context.Context, subs []delivery.Subscription) ([]delivery.Granted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]delivery.Granted, len(subs))
	for i, sub := range subs {
		if _, err := topics.ParseFilter(sub.Filter, s.id.Actor.UserName); err != nil && !isOpen(s.id, sub.Filter) {
			r, _ := errors.AsType[*topics.Refusal](err)
			out[i].Refusal = &delivery.Refusal{Code: r.Code}
			continue
		}
		if s.e.subs != nil {
			if out[i].Refusal = s.e.subs(sub); out[i].Refusal != nil {
				continue
			}
		}
		out[i].QoS = s.grant(sub)
		s.subs = append(s.subs, sub)
	}
	return out, nil
}

func (s *fakeSession) Feed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fed++
}

func (s *fakeSession) Unsubscribe(_ context.Context, filters []string) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]bool, len(filters))
	for i, f := range filters {
		for j, sub := range s.subs {
			if sub.Filter == f {
				s.subs = append(s.subs[:j], s.subs[j+1:]...)
				out[i] = true
				break
			}
		}
	}
	return out, nil
}

func (s *fakeSession) Subscriptions() []delivery.Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivery.Subscription(nil), s.subs...)
}

func (s *fakeSession) SaveCarrier(_ context.Context, b []byte) error {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.e.carrier[s.key] = append([]byte(nil), b...)
	return nil
}

// received takes a PUBREC and answers at once.
func (s *fakeSession) received(tag uint16, refused bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.twice[tag]; !known {
		return false
	}
	if refused {
		delete(s.twice, tag)
		return true
	}
	s.twice[tag] = true
	s.o.Link.Release(tag)
	return true
}

func (s *fakeSession) Completed(tag uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	released := s.twice[tag]
	if released {
		delete(s.twice, tag)
	}
	return released
}

func (s *fakeSession) Ack(tag uint16, _ bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, tag)
	return tag <= s.tag
}

func (s *fakeSession) Writable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writable++
}

func (s *fakeSession) Leave() {}

func (s *fakeSession) Close(_ context.Context, how delivery.CloseHow) {
	s.pending.Wait()
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.e.closed = append(s.e.closed, how)
	switch delete(s.e.until, s.key); {
	case how.Forget:
	case how.KeepFor == 0:
		s.e.until[s.key] = time.Now().Add(1 << 60)
	default:
		s.e.until[s.key] = time.Now().Add(how.KeepFor)
	}
	if s.e.sessions[s.key] == s {
		delete(s.e.sessions, s.key)
	}
	close(s.gone)
}

// waitFor waits until ok, at most for ten seconds.
func waitFor(ok func() bool) bool {
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(time.Millisecond)
	}
	return true
}
