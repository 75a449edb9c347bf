package delivery

import (
	"sync"
	"sync/atomic"
	"time"

	"tidings/chat"
	"tidings/hooks"
)

// Identity is who a connection is, established by Engine.Login.
type Identity struct {
	Actor hooks.Actor // Device is zero for guests
	Guest bool        // live only: no device row, no inbox, nothing kept
	Open  bool        // every topic is an open one, and there are no chats: see EnterOpen

	revision uint64 // of the directory when the login began
}

// Session is the live session of one device: its subscriptions, its window and
// where it is in each chat. What must outlive the connection is stored when it
// ends; an absent device has no Session.
type Session struct {
	// Fixed after construction.
	e          *Engine
	id         Identity
	link       Link
	epoch      uint32
	began      uint32        // epoch of the connection that began the MQTT session
	limit      int           // deliveries that may be outstanding
	keepFor    time.Duration // of the MQTT session, if the server crashes; zero: for ever
	temporary  bool          // subscriptions end with the connection
	crashed    bool          // sessions after closedAt were not closed in order
	kept       []sentRow     // unsettled publishes as loaded
	closedAt   uint32        // last epoch whose packet state was stored, and with it all of its unsettled publishes
	opened     int64         // Unix milliseconds
	access     *access       // to open topics
	aftercrash bool          // what lies behind the cursors may have been sent before: it carries DUP

	pending atomic.Int64  // publishes not yet answered
	leaving atomic.Bool   // the client has sent DISCONNECT
	closing atomic.Bool   // Close waits for pending to become zero
	drained chan struct{} // closed when it has
	drain   sync.Once
	barred  atomic.Bool   // its user or device may not do anything any more
	over    atomic.Bool   // no longer takes or gives anything
	closed  chan struct{} // closed when Close has finished
	end     sync.Once     // of Close

	// Owned by the committer.
	lastChat  *ledgerChat // the chat written to last, so that it need not be looked up
	lastName  []byte
	lastGroup bool
	steps     stepLog
	poisoned  bool      // a publish has an unknown outcome: nothing behind it may be answered
	earlier   []sentRow // unsettled publishes of earlier connections

	// Owned by the router until drained, then by Close.
	touched uint64    // the router's round in which the link was last written to
	sent    []sentRow // latest answered publishes without a cid, at most one window

	// Writes of the kept state take turns, each for as long as the store takes.
	keeping  sync.Mutex
	sealed   bool      // the state of the session's end is written: no other follows
	keptHeld []sentRow // publishes that the state holds while the session is open; what has changed since is in the packet log
	unkept   bool      // keptHeld has not been written yet

	watches []string // users whose presence is watched; guarded by presence.mu

	// mu guards all that follows. Link methods are called with it held.
	mu      sync.Mutex
	scope   *scope
	subs    []Subscription
	inbox   bool // the device has one
	carrier []byte
	stored  bool // the present subscriptions are stored
	started bool
	ended   bool
	feeding bool // that it is open is durable: see beginFeeding

	loading  bool               // heads are being read: live entries are only noted
	load     bool               // a puller has to read the heads
	loaded   bool               // it has, and all that it saw has been offered
	wanted   map[chat.ID]uint64 // noted while loading
	chats    map[chat.ID]*position
	window   window             // of chats
	queue    window             // of the queue of open topics
	out      int                // sent on this connection and not acknowledged
	behind   [4]chain           // positions with something to read, by class
	turn     int                // class to serve next
	queued   bool               // waits for a puller
	full     bool               // the output had no room
	listed   bool               // the flusher will look at it
	retained []retained         // presence to be sent after SUBACK
	held     map[uint16]sentRow // QoS 2 publishes that wait for PUBREL
	received map[uint64]bool    // entries of the queue that are to be sent again and were received before a crash
	open     *subscriber        // to open topics; nil: it never has subscribed to any
	memory   memoryQueue        // of a session whose queue is not in the store
	asked    []retainedJob      // retained messages of open topics to be sent, after SUBACK
	expected map[string]bool    // filters that Expect has begun; true: they are new
	pump     []retainedJob      // the same, under way
}

// position is where a session is in one chat. There is one only while something
// is outstanding: no position means that everything up to the head is done and
// saved.
type position struct {
	id    chat.ID
	want  uint64 // head as far as known
	sent  uint64 // last entry handed to the link or passed over
	acked uint64 // end of the contiguous acknowledged prefix: the cursor
	count uint64 // last entry of that prefix that counts as delivered; zero: none since the position was made
	own   uint64 // last of the device's own messages that was passed over, zero: none
	saved uint64 // cursor as stored
	dupTo uint64 // entries up to here may have been sent by an earlier connection
	out   int    // entries in the window

	memory *memoryQueue // where its entries wait if it is not a log

	behind bool // between sent and want the log has to be read
	next   *position
}

func (p *position) class() int {
	switch p.id.Kind() {
	case chat.KindEvents:
		return 0
	case chat.KindDirect:
		return 1
	case chat.KindGroup:
		return 2
	default:
		return 3
	}
}

func (p *position) dirty() bool { return p.acked > p.saved }

// chain is a queue of positions.
type chain struct{ head, tail *position }

func (c *chain) push(p *position) {
	p.next = nil
	if c.tail == nil {
		c.head = p
	} else {
		c.tail.next = p
	}
	c.tail = p
}

func (c *chain) pop() *position {
	p := c.head
	if p == nil {
		return nil
	}
	if c.head = p.next; c.head == nil {
		c.tail = nil
	}
	p.next = nil
	return p
}

// Identity returns who the session is.
func (s *Session) Identity() Identity { return s.id }

// Epoch returns which connect of the device this is.
func (s *Session) Epoch() uint32 { return s.epoch }

func (s *Session) user() chat.UserID     { return s.id.Actor.User }
func (s *Session) device() chat.DeviceID { return s.id.Actor.Device }

// answered notes that n publishes need no answer any more.
func (s *Session) answered(n int64) {
	if s.pending.Add(-n) == 0 && s.closing.Load() {
		s.drain.Do(func() { close(s.drained) })
	}
}

// positionLocked returns the position in a chat, made with everything up to seq
// done if there is none.
func (s *Session) positionLocked(id chat.ID, seq uint64) *position {
	p := s.chats[id]
	if p == nil {
		if s.chats == nil {
			s.chats = make(map[chat.ID]*position)
		}
		p = &position{id: id, want: seq, sent: seq, acked: seq, saved: seq}
		s.chats[id] = p
	}
	return p
}
