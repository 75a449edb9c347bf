package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
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
	RetainedBytes int          // of topic names and payloads; 0: 64 MiB
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

	items sync.Pool // of *openItem

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

// share is a shared subscription: each message goes to one of its members.
type share struct {
	members []shareMember // in the order in which they have come
	next    int           // whose turn it is; guarded by openTopics.mu held for writing, or the committer
}

type shareMember struct {
	s *subscriber
	w openWant
}

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

func (o *openTopics) joinLocked(filter, rest string, sub *subscriber, w openWant) {
	sh := o.shares[filter]
	if sh == nil {
		sh = &share{}
		o.shares[filter] = sh
		o.shared.Set(rest, sh, struct{}{})
	}
	if i := sh.index(sub); i >= 0 {
		sh.members[i].w = w
		return
	}
	sh.members = append(sh.members, shareMember{sub, w})
}

func (sh *share) index(sub *subscriber) int {
	return slices.IndexFunc(sh.members, func(m shareMember) bool { return m.s == sub })
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

// listedPage is how many sessions are read at once.
const listedPage = 500

// listed is the kept session of a device whose user has not been removed.
type listed struct {
	id       Identity
	state    state
	crashed  bool // it was open when the server ended
	disabled bool // its user is
}

// eachListed calls f with the kept sessions that are listed.
func (e *Engine) eachListed(ctx context.Context, f func(listed) error) error {
	var after chat.DeviceID
	for {
		page, err := e.store.ListSessions(ctx, after, listedPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			d := &page[i].Device
			after = d.ID
			us, err := e.accounts.withIDs(ctx, []chat.UserID{d.User})
			if err != nil {
				return err
			}
			if us[0] == nil || us[0].Removed {
				continue
			}
			l := listed{crashed: d.Node != "", disabled: us[0].Disabled}
			l.state, err = decodeState(page[i].State)
			if err != nil {
				e.log.Error("cannot read the kept state of a session", "err", err, "device", uint64(d.ID))
				continue
			}
			l.id.Open = us[0].Name == openUser
			l.id.Actor = hooks.Actor{User: d.User, UserName: us[0].Name, Device: d.ID, DeviceName: d.Name}
			if err := f(l); err != nil {
				return err
			}
		}
	}
}

// KeptSession is the kept session of an absent device for which the carrier has
// stored something.
type KeptSession struct {
	Identity Identity
	Carrier  json.RawMessage // as SaveCarrier stored it
	Until    int64           // when the session expires, Unix milliseconds; 0: never
	Crashed  bool            // it was open when the server ended
}

// Kept calls f with each such session. The carrier calls it once, before it lets
// anybody in.
func (e *Engine) Kept(ctx context.Context, f func(KeptSession)) error {
	return e.eachListed(ctx, func(l listed) error {
		if len(l.state.Carrier) > 0 && !l.disabled {
			f(KeptSession{Identity: l.id, Carrier: l.state.Carrier, Until: l.state.until(l.crashed, e.began), Crashed: l.crashed})
		}
		return nil
	})
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

// purgeOf gives up what waits in the queue of a forgotten subscriber.
func (o *openTopics) purgeOf(ctx context.Context, sub *subscriber) {
	if err := o.purge(ctx, &sub.id); err != nil {
		o.e.log.Error("cannot empty the queue of a session that has ended", "err", err, "device", uint64(sub.id.Actor.Device))
	}
}

// trimStep is how many acknowledged entries a queue keeps until they are removed
// together.
const trimStep = 256

// saved notes that a queue's cursor is in the store, and removes what lies behind
// it. It runs on the flusher.
func (o *openTopics) saved(ctx context.Context, sub *subscriber, cursor uint64) {
	raise(&sub.acked, cursor)
	o.trim(ctx, sub, cursor)
}

// trim removes the entries of a queue up to a seq, if there are enough of them.
func (o *openTopics) trim(ctx context.Context, sub *subscriber, to uint64) {
	if to < sub.trimmed.Load()+trimStep {
		return
	}
	if err := o.e.store.Trim(ctx, storage.Trim{Chat: sub.queue(), Forget: to}); err != nil {
		o.e.log.Error("cannot trim a queue; trying again", "err", err, "device", uint64(sub.id.Actor.Device))
		return
	}
	raise(&sub.trimmed, to)
}

// purge gives up what waits in a subscriber's queue.
func (o *openTopics) purge(ctx context.Context, d *Identity) error {
	id := chat.QueueChat(d.Actor.Device)
	infos, err := o.e.store.Chats(ctx, []chat.ID{id})
	if err != nil {
		return err
	}
	return o.giveUp(ctx, d, infos[0].Head)
}

// giveUp gives up the entries of a device's queue up to a seq.
func (o *openTopics) giveUp(ctx context.Context, d *Identity, to uint64) error {
	if to == 0 {
		return nil
	}
	id := chat.QueueChat(d.Actor.Device)
	if err := o.e.store.Advance(ctx, []storage.Advance{{Chat: id, User: d.Actor.User, Device: d.Actor.Device, Cursor: to}}); err != nil {
		return err
	}
	return o.e.store.Trim(ctx, storage.Trim{Chat: id, Forget: to})
}

// OpenTopics returns how many persistent sessions have subscriptions to open
// topics, and how many retained messages there are.
func (e *Engine) OpenTopics() (subscribers, retained int) {
	e.open.mu.RLock()
	defer e.open.mu.RUnlock()
	return len(e.open.devices), e.open.retained.Len()
}
