package delivery

import (
	"context"
	"encoding/json"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
)

// post is an append that no connection has published: a will, an entry about
// membership, an account event. It goes through the committer like any other.
type post struct {
	from   hooks.Actor
	chat   chat.ID // where to, if it is not named by the item
	decide func(*ledgerChat) (*entry, *Refusal)
	done   chan posted // of capacity 1
}

// entry is what an operation wants to append. A nil entry is nothing.
type entry struct {
	typ     string
	body    []byte
	changes []storage.MemberChange
	device  chat.DeviceID // does not get it; zero: none
}

// posted is the outcome of a post.
type posted struct {
	PostResult
	refusal *Refusal
	unknown bool // may or may not be stored
}

// PostResult is where a message was stored.
type PostResult struct {
	Seq  uint64
	Time int64 // Unix milliseconds
	ID   chat.MessageID
}

// finish gives the outcome to whoever waits. It runs on the router.
func (p *post) finish(it *item) {
	p.done <- posted{PostResult{it.seq, it.time, it.id}, it.refusal, it.dropped}
}

// submit hands a post over and waits for its outcome.
func (e *Engine) submit(ctx context.Context, it item, data []byte) (PostResult, error) {
	if !e.intake.add([]item{it}, data) {
		return PostResult{}, refuseShutdown
	}
	select {
	case r := <-it.post.done:
		switch {
		case r.refusal != nil:
			return PostResult{}, r.refusal
		case r.unknown:
			return PostResult{}, refuseUnknown
		}
		return r.PostResult, nil
	case <-ctx.Done():
		return PostResult{}, ctx.Err()
	}
}

var refuseUnknown = &Refusal{Code: CodeUnavailable, Message: "the outcome is not known; try again", Temporary: true}

// Post publishes on behalf of a device without a connection (a will, an
// operation) and waits until it is durable. The topic is that of a user, a group
// or an open one; cid is the client message id of a message, "" for none. Errors
// are a *Refusal, the context's or the store's; only after a *Refusal that is not
// Temporary it is certain that nothing was stored.
func (e *Engine) Post(ctx context.Context, from Identity, p *Publish, cid string) (PostResult, error) {
	t := &Turn{e: e}
	it := item{post: &post{from: from.Actor, done: make(chan posted, 1)}, qos: 1}
	it.topic = t.put(p.Topic)
	access, err := e.open.accessOf(ctx, &from)
	if err != nil {
		return PostResult{}, err
	}
	it.refusal = t.read(&it, &from, access, p)
	if it.refusal == nil && it.kind != kindMessage && it.kind != kindOpen {
		it.refusal = refuseUnknownTopic
	}
	if it.refusal != nil {
		return PostResult{}, it.refusal
	}
	if cid != "" {
		it.cid = t.put([]byte(cid))
	}
	if it.kind == kindOpen {
		it.qos = p.QoS
	}
	if us, err := e.accounts.withIDs(ctx, []chat.UserID{from.Actor.User}); err != nil {
		return PostResult{}, err
	} else if !us[0].active() {
		return PostResult{}, refuseNotAllowed
	}
	return e.submit(ctx, it, t.data)
}

// append puts an entry of the engine's own into a chat. decide runs on the
// committer, when it is known what the chat's state is at that place of its log.
func (e *Engine) append(ctx context.Context, from hooks.Actor, id chat.ID, decide func(*ledgerChat) (*entry, *Refusal)) (PostResult, error) {
	p := &post{from: from, chat: id, decide: decide, done: make(chan posted, 1)}
	return e.submit(ctx, item{post: p, kind: kindEntry, group: id.Kind() == chat.KindGroup}, nil)
}

// Types of account events.
const (
	eventDeviceAdded   = "device.added"   // {"device"}
	eventDeviceRevoked = "device.revoked" // {"device"}
	eventGroupAdded    = "group.added"    // {"group","by"}
	eventGroupInvited  = "group.invited"  // {"group","by"}
	eventGroupRemoved  = "group.removed"  // {"group","by"}
)

// event appends to the private log of a user. It does not wait: an event is
// news about something that is durable already. The device that it is about, if
// any, does not get it.
func (e *Engine) event(u chat.UserID, about chat.DeviceID, typ string, body map[string]any) {
	b, err := json.Marshal(body)
	if err != nil {
		e.log.Error("cannot encode an account event", "err", err, "type", typ)
		return
	}
	p := &post{chat: chat.EventsChat(u), done: make(chan posted, 1), decide: func(*ledgerChat) (*entry, *Refusal) {
		return &entry{typ: typ, body: b, device: about}, nil
	}}
	e.intake.add([]item{{post: p, kind: kindEntry}}, nil)
}
