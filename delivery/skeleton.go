package delivery

import (
	"context"
	"net/netip"

	"tidings/chat"
	"tidings/hooks"
)

// Identity is who a connection is, established by Engine.Login.
type Identity struct {
	Actor hooks.Actor // Device is zero for guests
	Guest bool        // live only: no device row, no inbox, nothing kept
}

// OpenOptions are what a connection tells the engine about itself.
type OpenOptions struct {
	Link      Link
	Clean     bool   // MQTT clean start: forget subscriptions and packet state, never undelivered messages
	Window    int    // deliveries that may be unacknowledged at once: the client's Receive Maximum; 0: no limit of the client's
	Temporary bool   // subscriptions need not outlive the connection (3.1.1 clean session, session expiry 0)
	Protocol  string // as in hooks.Login
	Remote    netip.AddrPort
}

// OpenInfo is what Open found.
type OpenInfo struct {
	Present bool   // a persistent session was taken up again: MQTT Session Present
	Carrier []byte // what Session.SaveCarrier stored last, nil if nothing or Clean
	Epoch   uint32
}

// Engine is the whole of package delivery in one value.
type Engine struct{}

// Login asks the authenticators and finds or makes the device. It may block for
// as long as ctx allows; the carrier calls it off its read loops. Errors are those of package
// hooks, or a *Refusal.
func (e *Engine) Login(ctx context.Context, l *hooks.Login) (Identity, error) { panic("skeleton") }

// Open begins a session: it ends an older one of the same device (its link gets
// ReasonTakenOver), raises the epoch and loads what was kept. May block.
// Nothing is delivered before Start.
func (e *Engine) Open(ctx context.Context, id Identity, o OpenOptions) (*Session, OpenInfo, error) {
	panic("skeleton")
}

// Subscription is one chat topic filter of a session, with MQTT's options.
type Subscription struct {
	Filter         string
	QoS            byte   // requested; 2 is granted as 1
	ID             uint32 // subscription identifier, zero: none
	RetainHandling byte   // for presence: 0 send the state now, 1 only if the subscription is new, 2 do not
}

// Session is the live session of one device.
type Session struct{}

// Identity returns who the session is.
func (s *Session) Identity() Identity { panic("skeleton") }

// Start begins the feeding, of what a persistent session had subscribed too. The carrier calls it after CONNACK was written.
func (s *Session) Start() { panic("skeleton") }

// Subscribe adds or replaces subscriptions. The answer has one entry for each:
// nil means granted. When it returns, the device's inbox and start cursors are
// durable, so that SUBACK may be sent; delivery begins when the carrier calls Feed. May block.
func (s *Session) Subscribe(ctx context.Context, subs []Subscription) ([]*Refusal, error) {
	panic("skeleton")
}

// Feed begins delivery for what the last Subscribe granted: called after SUBACK has been written to the output.
func (s *Session) Feed() { panic("skeleton") }

// Unsubscribe removes filters; the answer tells for each whether it was there. May block.
func (s *Session) Unsubscribe(ctx context.Context, filters []string) ([]bool, error) {
	panic("skeleton")
}

// Subscriptions returns the present subscriptions.
func (s *Session) Subscriptions() []Subscription { panic("skeleton") }

// SaveCarrier keeps an opaque value with the session for the next connection's OpenInfo. May block.
func (s *Session) SaveCarrier(ctx context.Context, b []byte) error { panic("skeleton") }

// Ack takes the device's acknowledgement of the delivery with that tag. refused
// is set for a reason code ≥ 0x80: the cursor passes, but it does not count as
// delivered. It returns false for a tag that is not outstanding on this
// connection, which is otherwise ignored. Never blocks.
func (s *Session) Ack(tag uint16, refused bool) bool { panic("skeleton") }

// Writable tells the feeder that the output has room again after NoRoom.
func (s *Session) Writable() { panic("skeleton") }

// CloseHow tells Close how the connection ended.
type CloseHow struct {
	Orderly bool   // the client sent DISCONNECT: its publishes are settled
	Reason  string // stable word for plugins and metrics: "client", "keepalive", "taken_over", "error", "shutdown" …
	Forget  bool   // the MQTT session ends with the connection: subscriptions and packet state are dropped (never undelivered messages)
	LastIn  int64  // Unix milliseconds of the last packet received
}

// Close ends the session: it waits until the answers of its publishes are known,
// writes cursors and packet state, and leaves the directory. May block; called
// once by the carrier for each Open, off its read loops, also after the engine ended the session itself.
func (s *Session) Close(ctx context.Context, how CloseHow) { panic("skeleton") }

// Publish is one publish as the carrier read it. The slices are valid during the
// call only.
type Publish struct {
	Topic    []byte
	Payload  []byte
	PacketID uint16
	QoS      byte
	Dup      bool
	Text     bool   // payload is text whatever it begins with (Content Type text/plain)
	Expiry   uint32 // MQTT Message Expiry Interval in seconds, zero: none
}

// Turn collects what one read round of a carrier's goroutine brought. It belongs
// to one goroutine.
type Turn struct{}

// NewTurn returns an empty turn for a goroutine of the carrier to use again and again.
func (e *Engine) NewTurn() *Turn { panic("skeleton") }

// Publish adds a publish of s. Topics that do not begin with u/ or g/ are refused as unknown: the carrier takes rpc/ and open topics itself and calls Answer for them.
// s.Link is answered later by the router, in order.
func (t *Turn) Publish(s *Session, p *Publish) { panic("skeleton") }

// Answer adds a publish that the carrier has decided itself (an rpc request, an
// open topic, a refusal), so that its acknowledgement leaves in its place.
func (t *Turn) Answer(s *Session, packetID uint16, qos byte, r *Refusal) { panic("skeleton") }

// Commit hands everything over and empties the turn. It blocks while the engine
// is full: that is the backpressure that reaches clients through TCP.
func (t *Turn) Commit() { panic("skeleton") }

// PublishResult is the answer to Post.
type PublishResult struct {
	Seq  uint64
	Time int64
	ID   chat.MessageID
}

// Post appends a message on behalf of a device without a connection (wills,
// operations) and waits until it is durable. cid may be "". Errors are *Refusal or the context's.
func (e *Engine) Post(ctx context.Context, from Identity, topic string, payload []byte, text bool, cid string) (PublishResult, error) {
	panic("skeleton")
}

// Released tells that the client has sent PUBREL for a QoS 2 publish, whose packet identifier is free again.
// Between PUBREC and PUBREL a PUBLISH with that identifier, on this or a later connection, is answered with the first result.
func (s *Session) Released(packetID uint16) (known bool) { panic("skeleton") }
