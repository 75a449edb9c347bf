// Package hooks is the plugin contract of Tidings. A plugin is a value that
// implements one or more of the small interfaces below; the server finds out
// which by type assertion, once, when it starts.
//
// Access to chats is not a plugin's business: the engine decides who may read
// and write. A plugin may refuse or narrow what the engine would allow, and
// never allows what the engine refuses. The exceptions are Authenticator and
// Exchanger, whose whole purpose is to say who somebody is.
//
// Every method may be called from several goroutines at once. Each interface
// says whether its methods may block. A panic in a plugin is caught, counted and
// treated as a refusal of the one thing that was asked.
package hooks

import (
	"context"
	"net/netip"

	"tidings/chat"
)

// Login is a request to enter, as carried by a CONNECT packet.
type Login struct {
	User     string // user name, validated against the grammar of user ids; "" in an Exchange that has to tell it
	Password []byte // or token; nil if there was none. Valid during the call only; never to be logged
	Client   string // client identifier as given, "" if the client left it to the server
	Remote   netip.AddrPort
	Protocol string // "mqtt3.1.1", "mqtt5" or "api"
}

// Grant is the identity that an Authenticator has established.
type Grant struct {
	User   chat.UserID
	Device string        // name of the device: the login's client identifier unless the credential fixes another one
	ID     chat.DeviceID // the device's id where the credential belongs to one; zero: found or made by name
	ByWord bool          // came in by the user's password: a new device may be enrolled
	Guest  bool          // live only: no device, no inbox (an empty client identifier with a password)
}

// Authenticator establishes who a login is. Authenticators are asked in order.
// The first that knows the kind of credential decides: it returns a grant, or an
// error that ends the login. One that has no opinion returns ErrNotMine. When
// none decides the login is refused. It may block; the context carries the
// deadline of the login.
type Authenticator interface {
	Authenticate(ctx context.Context, l *Login) (Grant, error)
}

// Actor is an authenticated device (or an operator, with zero ids) that wants
// something.
type Actor struct {
	User       chat.UserID
	UserName   string
	Device     chat.DeviceID
	DeviceName string
	Remote     netip.AddrPort
}

// Subscriber may refuse one topic filter that the engine would grant. A non-nil
// error refuses it. It must not block.
type Subscriber interface {
	AuthorizeSubscribe(a *Actor, filter string) error
}

// Publish is a publish that the engine is about to accept. The slices are valid
// during the call only.
type Publish struct {
	Topic   []byte
	Payload []byte
	QoS     byte
}

// Publisher is asked before each publish is accepted. A non-nil error refuses
// it: a *Refusal says with which code, anything else counts as "not_allowed". It
// runs on the goroutine that reads the connection, for every packet: it must not
// block and should not allocate.
type Publisher interface {
	BeforePublish(a *Actor, p *Publish) error
}

// Committed is told of messages that have become durable, batch by batch, in
// each chat's order. It runs on the router's goroutine: it must not block and
// must not keep or change the messages. After a crash the messages of the last
// batches may not have been told.
type Committed interface {
	AfterCommit(messages []*chat.Message)
}

// Delivered is told when a device has acknowledged everything in a chat up to
// seq. It must not block.
type Delivered interface {
	AfterDelivered(user chat.UserID, device chat.DeviceID, id chat.ID, seq uint64)
}

// Connected is told when a session of a device has begun, and Disconnected when
// it has ended. For one device the calls come in order. They must not block.
type Connected interface {
	AfterConnect(a *Actor)
}

// Disconnected is described at Connected. reason is a stable word such as
// "client", "keepalive" or "taken_over".
type Disconnected interface {
	AfterDisconnect(a *Actor, reason string)
}
