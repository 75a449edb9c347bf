package delivery

import (
	"tidings/chat"
)

// Link is what the engine needs of the carrier's connection. The carrier
// (package broker) implements it. None of its methods may block, wait for I/O or
// call back into the engine: they are called with a session's lock held.
type Link interface {
	// Deliver appends one delivery to the connection's output. It copies what it
	// keeps.
	Deliver(d *Delivery) DeliverResult

	// Answer reports the outcome of one publish. Calls come in the order in which
	// the publishes of this connection were given to a Turn [MQTT-4.6.0-2].
	Answer(a *Answer)

	// Release appends the packet that lets the receiver of a QoS 2 delivery go on
	// (PUBREL), again after a reconnect. What the window holds bounds how many there
	// are, so that it finds room: the result is Delivered or Closed.
	Release(tag uint16) DeliverResult

	// Complete appends the last answer to a QoS 2 publish (PUBCOMP), in the order of
	// the Turn's Released calls among the answers. known is false if there was no
	// such publish.
	Complete(packetID uint16, known bool)

	// Flush hands what has been appended to the network, as far as it takes it at
	// once. The engine calls it once for each batch of Deliver and Answer calls,
	// without holding a lock. It is cheap when there is nothing to send.
	Flush()

	// Close ends the connection, telling the client why where the protocol can.
	// The carrier then calls Session.Close, from its own goroutine.
	Close(r Reason)
}

// DeliverResult tells what Deliver did.
type DeliverResult uint8

// The results of Deliver.
const (
	Delivered DeliverResult = iota // appended
	NoRoom                         // the output buffer is full: nothing appended; the carrier calls Session.Writable when it has drained
	TooLarge                       // over the receiver's Maximum Packet Size: nothing appended, and the connection lives on
	Closed                         // the connection is gone: nothing appended
)

// Delivery is one publication to a device. It and its slices are valid during
// the call only.
type Delivery struct {
	Topic    []byte // topic name
	Payload  []byte
	ReplyTo  []byte // Response Topic for MQTT 5 receivers, nil: none
	Tag      uint16 // the session's identifier of this delivery, 1…65535, used as MQTT packet identifier; zero at QoS 0
	QoS      byte   // 0 or 1; on open topics also 2
	Dup      bool
	Retain   bool
	Props    []byte   // on open topics: what Publish.Props was, for MQTT 5 receivers
	Expiry   uint32   // seconds the message has left, for Message Expiry Interval; zero: none
	Filters  []uint32 // subscription identifiers of the matching filters, without zeros
	Ordinary bool     // false for live-only traffic (receipts, typing, presence, sent), which the engine drops when there is no room
}

// Answer is the outcome of one publish. It is valid during the call only.
type Answer struct {
	PacketID uint16
	QoS      byte
	Refusal  *Refusal // nil: accepted; what a publish of a message means by that is "durable"

	// Of a stored message (or the first of its duplicates); Seq is zero for
	// accepted publishes that are not messages.
	Seq   uint64
	Time  int64 // Unix milliseconds
	ID    chat.MessageID
	Chat  []byte // topic of the chat as the sender sees it
	Topic []byte // topic name as published, for refusals
	CID   []byte // as given in the draft, nil if none
	Sent  *Want  // the session's own subscription to u/{me}/sent; nil: none
}

// Refusal is why a publish, a subscription or an operation was not done. Code is
// one of the words of docs/errors.md, Message a sentence for people. Neither
// holds bodies or secrets. The values are shared: do not change them.
type Refusal struct {
	Code    string
	Message string

	// Temporary marks refusals that the same request may not meet later (the
	// store is full or away): an MQTT 3.1.1 connection is closed without an
	// acknowledgement for these, since its acknowledgements cannot fail.
	Temporary bool
}

// Error returns the code and the sentence.
func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// The words of Refusal.Code that the engine itself uses.
const (
	CodeNotAllowed   = "not_allowed"   // not a member, blocked, not wanted, disabled or unknown: one word for all
	CodeUnknownTopic = "unknown_topic" // the topic name has no meaning here
	CodeMalformed    = "malformed"     // payload or parameters do not parse
	CodeTooLarge     = "too_large"     // over the body limit
	CodeConflict     = "cid_conflict"  // the cid was used for another message
	CodeQuota        = "quota_exceeded"
	CodeStorageFull  = "storage_full"
	CodeUnavailable  = "unavailable"
	CodeInternal     = "internal" // a broken promise of our own code
)

// Reason is why the engine closes a connection.
type Reason uint8

// The reasons of Link.Close.
const (
	ReasonTakenOver     Reason = iota + 1 // the device has connected again
	ReasonNotAuthorized                   // user disabled or removed, device revoked, password changed
	ReasonShutdown
	ReasonUnknownOutcome // a publish may or may not be stored: no ack may follow on this connection
	ReasonUnavailable    // the store is away
	ReasonAdmin          // an operator asked for it
)

// Want is a granted subscription to one of the server's streams.
type Want struct {
	QoS byte     // 0 or 1
	IDs []uint32 // subscription identifiers of all filters that match, without zeros
}
