package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tidings/chat"
	"tidings/topics"
	"tidings/topics/index"
)

// Open topics are plain MQTT beside the chats. A subscription there is more than
// a filter on an inbox: what matches it while its device is away has to be put
// aside. So subscribers are known here whether they are connected or not, and
// each has a queue: a log of its own, to which the committer appends what is for
// it, and which is fed, acknowledged and taken up again like any chat. Sessions
// that end with their connection have their queue in memory.

// OpenTopics configures them. The zero value: there are none.
type OpenTopics struct {
	Names         topics.Open  // which topic names are open
	Rules         topics.Rules // who may read and write what; none: everybody everything
	Queue         int          // messages that may wait for one session; 0: 10,000
	Refuse        bool         // a publish for a full queue is refused; else the oldest message is dropped
	Retained      int          // retained messages in all; 0: 100,000
	RetainedBytes int          // of topic names, properties and payloads; 0: 64 MiB
}

func (c OpenTopics) withDefaults() OpenTopics {
	setDefault(&c.Queue, 10_000)
	setDefault(&c.Retained, 100_000)
	setDefault(&c.RetainedBytes, 64<<20)
	return c
}

// openTopics knows the subscribers and the retained messages.
type openTopics struct {
	e   *Engine
	cfg OpenTopics
	any topics.Open // of identities for which all is open

	items   sync.Pool    // of *openItem
	waiting atomic.Int64 // bytes that wait in memory queues

	groups      []string      // that the rules mention
	memberships atomic.Uint64 // raised by each change of a membership in one of them

	// mu guards what follows. It is a leaf: a publish is matched and becomes the
	// retained message, and a subscription is made and looks at the retained ones,
	// each in one step, so that no message is missed or sent twice.
	mu            sync.RWMutex
	filters       index.Filters[*subscriber, openWant]
	shared        index.Filters[*share, struct{}]
	shares        map[string]*share // by the filter with its share name
	devices       map[chat.DeviceID]*subscriber
	retained      index.Topics[*retainedMessage]
	retainedBytes int
	searched      int64 // when expired retained messages were last looked for, Unix milliseconds

	round uint64 // number of the present append; owned by the committer
}

// openWant is what one subscription asks for.
type openWant struct {
	qos         byte
	id          uint32
	noLocal     bool
	asPublished bool
}

// subscriber is a session with subscriptions to open topics. That of a persistent
// session outlives its connections.
type subscriber struct {
	id      Identity
	durable bool                    // the queue is a log of the store
	fresh   bool                    // what was in the queue before start is not for it
	start   atomic.Uint64           // of a fresh one: head of the queue when its first message came, plus 1; 0: none has
	cleared atomic.Bool             // what was there before is gone
	access  *access                 // that of the live session, too
	shut    atomic.Bool             // its user is disabled: it gets nothing
	live    atomic.Pointer[Session] // nil while the device is away
	until   atomic.Int64            // when the absent session expires, Unix milliseconds; 0: never
	trimmed atomic.Uint64           // entries up to here are gone from the store
	acked   atomic.Uint64           // cursor in the queue as stored
	passed  atomic.Uint64           // cursor in the queue, be it stored or not
	dropped atomic.Uint64           // entries up to here have been given up since the queue was full

	// Owned by the committer.
	head  uint64
	known bool   // head and acked have been read
	round uint64 // append for which added counts
	added uint64 // entries that it has for the queue

	// Guarded by openTopics.mu.
	filters map[string]struct{} // subscribed to
	gone    bool                // forgotten: it never is a subscriber again
}

func (s *subscriber) queue() chat.ID { return chat.QueueChat(s.id.Actor.Device) }

func newOpenTopics(e *Engine) *openTopics {
	return &openTopics{
		e: e, cfg: e.cfg.Open.withDefaults(), any: topics.AnyOpen(), groups: e.cfg.Open.Rules.Groups(),
		shares: make(map[string]*share), devices: make(map[chat.DeviceID]*subscriber),
		items: sync.Pool{New: func() any { return new(openItem) }},
	}
}

// names returns which topic names are open to an identity.
func (o *openTopics) names(id *Identity) *topics.Open {
	if id.Open {
		return &o.any
	}
	return &o.cfg.Names
}

// IsOpen tells whether a topic name is an open one for who publishes there.
func (e *Engine) IsOpen(id Identity, topic []byte) bool { return e.open.names(&id).Has(topic) }

// selects tells whether a filter is one of open topics for that identity.
func (o *openTopics) selects(id *Identity, filter string) bool {
	if _, rest, ok := topics.ParseShared(filter); ok {
		filter = rest
	}
	return topics.ValidFilter(filter) && o.names(id).Overlaps(filter)
}

// set makes or replaces subscriptions of a subscriber, and returns the retained
// messages that each asks for.
func (o *openTopics) set(sub *subscriber, subs []Subscription, fresh []bool) []retainedJob {
	var jobs []retainedJob
	o.mu.Lock()
	defer o.mu.Unlock()
	if sub.gone {
		return nil
	}
	if sub.durable {
		o.devices[sub.id.Actor.Device] = sub
	}
	if sub.filters == nil {
		sub.filters = make(map[string]struct{}, len(subs))
	}
	for i, n := range subs {
		sub.filters[n.Filter] = struct{}{}
		w := openWant{qos: n.QoS, id: n.ID, noLocal: n.NoLocal, asPublished: n.RetainAsPublished}
		if _, rest, ok := topics.ParseShared(n.Filter); ok {
			o.joinLocked(n.Filter, rest, sub, w)
			continue
		}
		o.filters.Set(n.Filter, sub, w)
		if n.RetainHandling == 0 || n.RetainHandling == 1 && fresh[i] {
			jobs = o.lookUpLocked(jobs, sub, n.Filter, w)
		}
	}
	return jobs
}

// unset removes subscriptions of a subscriber.
func (o *openTopics) unset(sub *subscriber, filters []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range filters {
		if _, there := sub.filters[f]; there {
			delete(sub.filters, f)
			o.unsetLocked(sub, f)
		}
	}
}

func (o *openTopics) unsetLocked(sub *subscriber, filter string) {
	_, rest, shared := topics.ParseShared(filter)
	if !shared {
		o.filters.Delete(filter, sub)
		return
	}
	sh := o.shares[filter]
	if i := sh.index(sub); i >= 0 {
		sh.members = slices.Delete(sh.members, i, i+1)
	}
	if len(sh.members) == 0 {
		delete(o.shares, filter)
		o.shared.Delete(rest, sh)
	}
}

// forget removes a subscriber with all its filters.
func (o *openTopics) forget(sub *subscriber) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forgetLocked(sub)
}

func (o *openTopics) forgetLocked(sub *subscriber) {
	for f := range sub.filters {
		o.unsetLocked(sub, f)
	}
	sub.filters, sub.gone = nil, true
	if d := sub.id.Actor.Device; o.devices[d] == sub {
		delete(o.devices, d)
	}
}

// of returns the subscriber of a device's persistent session, nil if there is none.
func (o *openTopics) of(d chat.DeviceID) *subscriber {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.devices[d]
}

// load takes up the subscriptions of persistent sessions and the retained
// messages from the store. It is called once, before anything else.
func (o *openTopics) load(ctx context.Context) error {
	if err := o.loadRetained(ctx); err != nil {
		return fmt.Errorf("load retained messages: %w", err)
	}
	now := time.Now().UnixMilli()
	err := o.e.eachListed(ctx, func(l listed) error {
		subs := o.among(&l.id, l.state.Subs)
		until := l.state.until(l.crashed, o.e.began)
		if !l.state.Persistent || len(subs) == 0 || until != 0 && until <= now {
			return nil
		}
		a, err := o.accessOf(ctx, &l.id)
		if err != nil {
			return err
		}
		sub := &subscriber{id: l.id, durable: true, access: newAccess(a)}
		sub.until.Store(until)
		sub.shut.Store(l.disabled)
		o.reset(sub, subs)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load sessions: %w", err)
	}
	return nil
}

// among returns those of the subscriptions that are to open topics.
func (o *openTopics) among(id *Identity, subs []Subscription) []Subscription {
	return slices.DeleteFunc(slices.Clone(subs), func(n Subscription) bool { return !o.selects(id, n.Filter) })
}

// reset makes these a subscriber's only subscriptions. It asks for no retained
// messages.
func (o *openTopics) reset(sub *subscriber, subs []Subscription) {
	keep := make(map[string]bool, len(subs))
	for i := range subs {
		subs[i].RetainHandling = 2
		keep[subs[i].Filter] = true
	}
	o.set(sub, subs, make([]bool, len(subs)))
	o.mu.Lock()
	defer o.mu.Unlock()
	for f := range sub.filters {
		if !keep[f] {
			delete(sub.filters, f)
			o.unsetLocked(sub, f)
		}
	}
}

// expire ends the persistent sessions of absent devices whose time is over. What
// is kept of them in the store ends when the device connects again.
func (o *openTopics) expire(ctx context.Context, now time.Time) {
	for _, sub := range o.forgetWhere(func(sub *subscriber) bool {
		until := sub.until.Load()
		return until != 0 && until <= now.UnixMilli() && sub.live.Load() == nil
	}) {
		o.purgeOf(ctx, sub)
	}
}

// forgetWhere removes those subscribers with persistent sessions for which f is
// true, and returns them. One that a connecting session takes up meanwhile is
// either seen with that session or gone before.
func (o *openTopics) forgetWhere(f func(*subscriber) bool) []*subscriber {
	var over []*subscriber
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, sub := range o.devices {
		if f(sub) {
			over = append(over, sub)
			o.forgetLocked(sub)
		}
	}
	return over
}

// OpenTopics returns how many persistent sessions have subscriptions to open
// topics, and how many retained messages there are.
func (e *Engine) OpenTopics() (subscribers, retained int) {
	e.open.mu.RLock()
	defer e.open.mu.RUnlock()
	return len(e.open.devices), e.open.retained.Len()
}
