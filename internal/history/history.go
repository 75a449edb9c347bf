// Package history records what clients did and saw, and checks the record against what the server promises.
//
// A Recorder takes events from all clients of a test in one order. An event that means "the client does this" (Send,
// Acked, Read, Cut, Crash) is recorded before the bytes leave, one that means "the client saw this" (Ack, Refused,
// Deliver, Receipt, Entry) after they came. So if the record has A before B, A cannot have been caused by B; the checks
// use nothing else, except time where a promise names a time.
//
// Check takes a record that ended in quiet: the load has stopped, every device has reconnected and got all it will get,
// and the log of every chat was read once more (Entry events). It verifies, from the clients' side alone:
//
//	I1  an acked message is in its chat's log and reached every device of every member but the sending one
//	I2  a log is dense from 1; one (chat, seq) is the same entry for everybody; nothing in it that nobody sent
//	I3  one message has one seq, however often it was sent
//	I4  a device gets a chat's entries in order, none of its own, and none again after its PUBACK but the last before a crash
//	I5  receipts only grow and are never ahead of what the member's devices acked or the member read
//	I8  what was refused, and never accepted, is not in the log
package history

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Kind says what an Event is.
type Kind uint8

// The kinds of events; in brackets the fields that count besides User, Device and Conn.
const (
	Connect Kind = iota + 1 // connection established [Clean]
	Close                   // the device sent DISCONNECT
	Cut                     // the device or the network ended the connection without DISCONNECT
	Crash                   // the server is about to be killed; no device
	Send                    // PUBLISH about to be written [Chat, Msg, CID, Dup]
	Ack                     // success PUBACK for it [Chat, Msg, CID; Seq and ID where the PUBACK told]
	Refused                 // refusing PUBACK, or its MQTT 3.1.1 form [Chat, Msg]
	Deliver                 // PUBLISH received [Chat, Seq, ID, From, Msg, Dup]
	Acked                   // PUBACK for it about to be written [Chat, Seq]
	Read                    // the user is about to say "read up to" [Chat, Seq]
	Receipt                 // watermark received [Chat, Member, Delivered, ReadUpTo]
	Entry                   // log entry read at the end [Chat, Seq, ID, From, Msg]
)

var kindNames = [...]string{
	Connect: "Connect", Close: "Close", Cut: "Cut", Crash: "Crash", Send: "Send", Ack: "Ack", Refused: "Refused",
	Deliver: "Deliver", Acked: "Acked", Read: "Read", Receipt: "Receipt", Entry: "Entry",
}

// String is the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", k)
}

// Event is one thing that a client did or saw.
type Event struct {
	At     time.Duration // since the Recorder's start; set by Add
	Kind   Kind
	User   string
	Device string // unique among the devices of User
	Conn   int    // the device's connections are numbered 1, 2, …

	Chat string // the same for everybody: see DirectChat
	Seq  int64
	ID   string // the server's message id
	From string // author of an entry
	Msg  string // names a message among all sends of the record; "" for entries that the server made (sys.*)
	CID  string // client message id, "" where the client sends none

	Dup   bool // MQTT's DUP flag
	Clean bool // the session is clean: deliveries need not carry DUP

	Member    string // whose watermark
	Delivered int64
	ReadUpTo  int64
}

// DirectChat is the name of the chat of two users in a record; both see it under the other's name on the wire.
func DirectChat(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return a + "+" + b
}

// Recorder collects events of many goroutines. The zero value is not ready: use New.
type Recorder struct {
	start time.Time

	mu     sync.Mutex
	events []Event
}

// New returns an empty Recorder whose time starts now.
func New() *Recorder { return &Recorder{start: time.Now()} }

// Add appends e at the present time.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.start) // under the lock, so that times are in order
	r.events = append(r.events, e)
}

// Len is the number of events so far.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

// Events returns what was recorded so far. The caller may not change it; later events do not appear in it.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.events)
}
