// Package storage is the contract between the delivery engine and what keeps
// its data: accounts, devices, groups, the log of every chat, cursors,
// watermarks, and the retained messages of open topics.
//
// The contract is coarse on purpose, so that it fits a remote database as well
// as an embedded one: batches go in and come out, no iterator or transaction is
// held across calls, and conflicts are values in the answer, not errors. An
// error means that the call as a whole had no known outcome or no effect; each
// method says which. The names of the error classes are in errors.go.
//
// Every method is safe for concurrent use unless it says otherwise. Slices and
// structs that are handed in belong to the caller again when the call returns;
// what comes out belongs to the caller, an empty slice as nil. A limit below one
// yields nothing where no default is named. A context that ends early ends
// waiting, not an effect under way.
//
// The suite in storagetest checks every rule written here; each implementation
// runs it.
package storage

import (
	"context"

	"tidings/chat"
)

// Store is everything the engine needs. Implementations live in packages below
// this one.
type Store interface {
	Accounts
	Devices
	Groups
	Log
	Inboxes
	OpenTopics

	// Health reports nil while the store can take writes, and otherwise the
	// reason in a sentence for operators. It does not block on I/O.
	Health() error

	// Close flushes and releases everything. No other call may be under way or
	// follow.
	Close() error
}

// Accounts keeps users and who has blocked whom.
type Accounts interface {
	// AddUsers makes accounts and returns their new ids in the order given. The
	// ID fields given are ignored. A name that is or ever was in use, also
	// earlier in the same call, yields id zero and changes nothing. Durable on
	// return.
	AddUsers(ctx context.Context, users []chat.User) ([]chat.UserID, error)

	// Users returns the accounts with these ids, in order, removed ones too. The
	// entry of an unknown id is the zero User.
	Users(ctx context.Context, ids []chat.UserID) ([]chat.User, error)

	// UsersByName returns the accounts with these names, in order, removed ones
	// too. The entry of an unknown name is the zero User.
	UsersByName(ctx context.Context, names []string) ([]chat.User, error)

	// UpdateUser changes one account: change sees the present state, may be
	// called more than once and must not call the store; an error from it is returned as it is and nothing is
	// stored. ID, Name and Created cannot be changed. Durable on return. The
	// answer is the account as stored. ErrNotFound for an unknown id.
	UpdateUser(ctx context.Context, id chat.UserID, change func(*chat.User) error) (chat.User, error)

	// ListUsers returns up to limit accounts in ascending order of name, from the
	// first name above after, removed ones included.
	ListUsers(ctx context.Context, after string, limit int) ([]chat.User, error)

	// SetBlock makes or ends user's block of target. Durable on return; doing it
	// again changes nothing.
	SetBlock(ctx context.Context, user, target chat.UserID, blocked bool) error

	// Blocks returns whom user has blocked, in ascending order of id.
	Blocks(ctx context.Context, user chat.UserID) ([]chat.UserID, error)
}

// Devices keeps the logins of users and the carrier's state of their sessions.
type Devices interface {
	// AddDevices makes devices and returns their new ids in the order given. The
	// ID and Epoch fields given are ignored. A name that the user has or had
	// (revoked ones included), also earlier in the same call, yields id zero and
	// changes nothing. Durable on return.
	AddDevices(ctx context.Context, devices []chat.Device) ([]chat.DeviceID, error)

	// Device returns the device of that id, ErrNotFound if there is none.
	Device(ctx context.Context, id chat.DeviceID) (chat.Device, error)

	// DeviceByName returns a user's device, revoked ones too; ErrNotFound if
	// there never was one of that name.
	DeviceByName(ctx context.Context, user chat.UserID, name string) (chat.Device, error)

	// DevicesOf returns a user's devices in ascending order of id, revoked ones
	// included.
	DevicesOf(ctx context.Context, user chat.UserID) ([]chat.Device, error)

	// UpdateDevice changes one device as UpdateUser changes a user. ID, User,
	// Name, Created, Epoch and Node cannot be changed by it.
	UpdateDevice(ctx context.Context, id chat.DeviceID, change func(*chat.Device) error) (chat.Device, error)

	// OpenSession raises the device's epoch by one, notes node as where its
	// newest session is, and returns the device after that together with the
	// state that SaveSession last stored (nil if none). openBefore is the node
	// noted until now, "" when the last session was closed in order. The change
	// may become durable late, but no later than anything appended after it.
	OpenSession(ctx context.Context, id chat.DeviceID, node string, nowMS int64) (d chat.Device, state []byte, openBefore string, err error)

	// SaveSession stores the carrier's state of the session with that epoch;
	// closed also ends the session (Node becomes "", Seen nowMS). A call with an
	// epoch below the device's present one changes nothing and is no error.
	// Durable asks for durability on return. ErrNotFound for an unknown device.
	SaveSession(ctx context.Context, s SessionState) error

	// ListSessions returns up to limit sessions that were saved as Listed, in
	// ascending order of device id, from the first above after: what a starting
	// server has to take up though the device is away. Revoked devices are left
	// out. A Node in the device says that its session was open when the server
	// ended.
	ListSessions(ctx context.Context, after chat.DeviceID, limit int) ([]StoredSession, error)
}

// SessionState is an argument of SaveSession.
type SessionState struct {
	Device  chat.DeviceID
	Epoch   uint32
	State   []byte // opaque here; nil keeps what is stored, and Listed as it was
	Listed  bool   // the session is to show in ListSessions until it is saved without
	Closed  bool
	NowMS   int64
	Durable bool
}

// StoredSession is one answer of ListSessions.
type StoredSession struct {
	Device chat.Device
	State  []byte // as last saved
}

// Groups keeps the settings of groups. Their members change by entries of their
// logs only: see Log.Append.
type Groups interface {
	// AddGroup makes a group without members and returns its id; zero if the name
	// is or ever was in use by a group. Durable on return.
	AddGroup(ctx context.Context, g chat.Group) (chat.GroupID, error)

	// Groups returns the groups with these ids, in order; the zero Group for an
	// unknown id.
	Groups(ctx context.Context, ids []chat.GroupID) ([]chat.Group, error)

	// GroupsByName returns the groups with these names, in order; the zero Group
	// for an unknown name.
	GroupsByName(ctx context.Context, names []string) ([]chat.Group, error)

	// UpdateGroup changes one group as UpdateUser changes a user. ID, Name,
	// Creator and Created cannot be changed.
	UpdateGroup(ctx context.Context, id chat.GroupID, change func(*chat.Group) error) (chat.Group, error)

	// ListGroups returns up to limit groups in ascending order of name, from the
	// first name above after.
	ListGroups(ctx context.Context, after string, limit int) ([]chat.Group, error)
}

// Log keeps the chats' logs. A chat needs no making: it is empty until its first
// entry. Readers never see an entry before it is durable.
type Log interface {
	// Append stores a batch of entries and advances, and fills in each entry's
	// Result. All that the results report is durable on return. Entries of one
	// chat are stored in the order given, each at the seq behind the one before.
	//
	//   - An entry whose chat, From and CID (not empty) equal those of a stored
	//     message, or of one earlier in the batch, is not stored: it is a
	//     Duplicate with that message's seq, id and time if their ContentDigests
	//     are equal, and a Mismatch otherwise. This holds for as long as the
	//     message or its stub is kept.
	//   - If a chat's head is not the After of its entries, none of its entries is
	//     stored and no duplicate is looked for: each is Moved, with the present
	//     head in Seq. The caller reads what lies between, decides anew and
	//     appends again. After is the same for all entries of one chat in a batch.
	//   - A Probe is never stored: it is a Duplicate, a Mismatch or Absent, whatever
	//     its After. A batch of probes alone writes nothing, and so works on a full
	//     store.
	//   - Members changes take effect with their entry: see MemberChange. They
	//     show in Members, Inbox and Memberships by the time Append returns.
	//   - The first entry of a direct or events chat makes the chat show in the
	//     Inbox of its users. A queue has none and shows in no Inbox.
	//   - Retained messages and advances are stored whatever becomes of the entries,
	//     also if there are none. Of two retained messages of one topic the later
	//     one counts.
	//
	// On an error the outcome is unknown: entries may be stored or not, in each
	// chat a prefix of what was given. Sending them again with the same cid, or
	// reading the log for their ids, finds out. All of a batch's retained messages are
	// stored or none is. ErrFull and ErrReadOnly say that nothing was stored; a batch
	// that adds no entries but those of packet logs, and no retained messages, may still
	// pass where others are refused with ErrFull. Calls for one chat must not overlap.
	Append(ctx context.Context, b *Batch) error

	// Chats returns the state of each chat, in order; an unknown or empty chat
	// has head zero.
	Chats(ctx context.Context, ids []chat.ID) ([]ChatInfo, error)

	// SetRetention stores the retention policy of a chat ("" for the server's
	// default). Durable on return.
	SetRetention(ctx context.Context, id chat.ID, policy string) error

	// ListChats returns up to limit chats that have entries, in ascending order
	// of id, from the first above after. Queues are listed, too, behind all others.
	ListChats(ctx context.Context, after chat.ID, limit int) ([]ChatInfo, error)

	// Members returns all rows of a group chat, also of those who have left, in
	// ascending order of user, and the head up to which they are valid: at least
	// the last entry that changed them.
	Members(ctx context.Context, id chat.ID) (members []chat.Member, asOf uint64, err error)

	// Read returns entries of one chat as the Range asks, stubs included. Entries
	// that were forgotten are left out.
	Read(ctx context.Context, r Range) ([]chat.Message, error)

	// Trim removes content and entries that retention has ended, all in one
	// step. Durable late: after a crash it may have to be done again. It is cheap to
	// forget a little more again and again: the cost is that of the entries which
	// go, not of those which went before.
	Trim(ctx context.Context, t Trim) error

	// Expired returns up to limit messages that are not stubs and whose Expires
	// is not zero and not after nowMS, soonest first.
	Expired(ctx context.Context, nowMS int64, limit int) ([]Position, error)
}

// ChatInfo is the state of a chat's log.
type ChatInfo struct {
	ID        chat.ID
	Head      uint64 // last seq, zero while empty
	HeadTime  int64  // time of the last entry, Unix milliseconds
	Floor     uint64 // first seq that may still have content; 0 or 1: everything
	Retention string // policy of this chat, "" for the server's default
}

// Position names one entry.
type Position struct {
	Chat chat.ID
	Seq  uint64
}

// Batch is what Append stores in one step. Its memory may be used again after
// the call.
type Batch struct {
	Entries  []Entry
	Advances []Advance // as by Inboxes.Advance, durable with the entries

	Retained []Retained // set or removed, durable with the entries
}

// Entry is one message to be appended, with its result.
type Entry struct {
	Message chat.Message // Chat … Body; Seq is ignored and set if the entry is stored
	After   uint64       // head of the chat that the caller has authorised the entry against
	Members []MemberChange
	Probe   bool // only look whether the cid was used

	Result Result // set by Append
}

// MemberChange is the effect of one entry on one row of a group.
//
//   - Role not RoleNone, user not a member: he becomes one, with a new interval
//     that is open from this entry on, or with the single interval from 1 where
//     History is set.
//   - Role not RoleNone, user a member: his role becomes Role.
//   - RoleNone: his role becomes RoleNone and his open interval ends with this
//     entry, which he still sees. For one who is no member it does nothing.
type MemberChange struct {
	User    chat.UserID
	Role    chat.Role
	History bool
}

// Outcome says what became of an entry.
type Outcome uint8

// The outcomes of an entry; the zero value is none of them.
const (
	Stored    Outcome = iota + 1 // at Result.Seq
	Duplicate                    // was stored before, at Result.Seq
	Mismatch                     // its cid was used for other content, at Result.Seq
	Moved                        // not stored: the head is Result.Seq, not After
	Absent                       // of a Probe: its cid was not used
)

// Result is the answer to one entry. ID and Time are those of the message at
// Seq, for Stored, Duplicate and Mismatch.
type Result struct {
	Outcome Outcome
	Seq     uint64
	ID      chat.MessageID
	Time    int64
}

// Range asks for entries from From to To, both included and To 0 meaning the
// head, in ascending order, or in descending order from To if Reverse is set.
// It ends early at Limit entries (0: 1,000) or when the bodies exceed Bytes
// (0: 1 MiB; the entry that exceeds is still returned, so that there is progress).
type Range struct {
	Chat     chat.ID
	From, To uint64
	Limit    int
	Bytes    int
	Reverse  bool
}

// Trim is an argument of Log.Trim.
type Trim struct {
	Chat   chat.ID
	Strip  []uint64 // seqs to turn into stubs; those that are stubs or gone are skipped
	Forget uint64   // entries at and below this seq go altogether, and what duplicates of them are found by; never the chat's last entry
	Floor  uint64   // new floor, if above the present one
}

// Inboxes keeps cursors, watermarks and which chats a user has.
type Inboxes interface {
	// Inbox returns the chats of a user in ascending order of id, from the first
	// above after, up to limit, with what the engine needs to feed one of his
	// devices. device may be zero: cursors are zero then. Chats that a user has
	// left are included as long as their row is there.
	Inbox(ctx context.Context, user chat.UserID, device chat.DeviceID, after chat.ID, limit int) ([]Tail, error)

	// Advance moves cursors and watermarks up; nothing ever moves them down: each
	// becomes the maximum of what is stored and what is given. Durable on return.
	Advance(ctx context.Context, as []Advance) error

	// Watermarks returns the marks of these users in a chat, in order.
	Watermarks(ctx context.Context, id chat.ID, users []chat.UserID) ([]chat.Watermark, error)

	// Cursors returns the cursors of these devices of one user in a chat, in order.
	Cursors(ctx context.Context, id chat.ID, user chat.UserID, devices []chat.DeviceID) ([]uint64, error)
}

// Tail is one chat of a user's inbox.
type Tail struct {
	Chat      chat.ID
	Head      uint64
	HeadTime  int64
	Cursor    uint64 // of the device asked for
	Delivered uint64 // the user's watermarks
	Read      uint64
	Member    chat.Member // his row in a group; the zero Member in other chats
}

// Advance moves what one user, and maybe one of his devices, has of a chat. A
// zero field changes nothing.
type Advance struct {
	Chat      chat.ID
	User      chat.UserID
	Device    chat.DeviceID // whose cursor; zero: none
	Cursor    uint64
	Delivered uint64
	Read      uint64
}
