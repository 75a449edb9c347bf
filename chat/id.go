// Package chat holds the domain types of Tidings (users, devices, chats,
// members, messages, receipts) and their wire forms: the draft that a client
// publishes and the envelope that every receiver gets.
//
// The package knows no MQTT, no storage and no engine, imports nothing else of
// this module, and all its functions are pure and safe for concurrent use.
package chat

import (
	"encoding/binary"
	"fmt"
)

// UserID is the internal identity of an account. It is given out once by the
// store and never reused, whatever happens to the account's name. Zero is no
// user.
type UserID uint64

// DeviceID is the internal identity of one login of a user. It is given out
// once by the store and never reused. Zero is no device.
type DeviceID uint64

// GroupID is the internal identity of a group, never reused. Zero is no group.
type GroupID uint64

// Kind tells the sorts of log apart.
type Kind uint8

// The kinds of chat.
const (
	KindNone    Kind = iota // the zero ID
	KindDirect              // a log of two users, or of one user with himself
	KindGroup               // a log of a group's members
	KindEvents              // the private log of one account's events
	KindQueue               // what waits for one device on open topics
	KindPackets             // the steps of one device's QoS 2 exchanges on open topics
)

// ID names a chat's log. It needs no look-up: a direct chat is its two users in
// ascending order, a group chat is {0, group}, the events of an account are
// {user, 0}, the queue of a device is {queues, device} and its packet log {packets,
// device}. IDs are comparable and ordered by their 16 big-endian bytes, so those
// two stand behind all others.
type ID struct{ Hi, Lo uint64 }

// The Hi of every queue and of every packet log are no users' ids: those count
// from one.
const (
	queues  = ^uint64(0)
	packets = queues - 1
)

// DirectChat returns the chat of two users, in either order; a user's chat with
// himself is his notes.
func DirectChat(a, b UserID) ID {
	if a > b {
		a, b = b, a
	}
	return ID{uint64(a), uint64(b)}
}

// GroupChat returns the chat of a group.
func GroupChat(g GroupID) ID { return ID{0, uint64(g)} }

// EventsChat returns the private event log of a user.
func EventsChat(u UserID) ID { return ID{uint64(u), 0} }

// QueueChat returns the log of what waits for a device on open topics. Nobody is
// a member of it: it shows in no inbox, and only the device's own session reads it.
func QueueChat(d DeviceID) ID { return ID{queues, uint64(d)} }

// PacketsChat returns the log of what a device and the server have told each other
// of QoS 2 exchanges on open topics. It is like a queue in all else.
func PacketsChat(d DeviceID) ID { return ID{packets, uint64(d)} }

// Kind returns the sort of chat that id names.
func (id ID) Kind() Kind {
	switch {
	case id.Hi == 0 && id.Lo == 0:
		return KindNone
	case id.Hi == 0:
		return KindGroup
	case id.Hi == queues:
		return KindQueue
	case id.Hi == packets:
		return KindPackets
	case id.Lo == 0:
		return KindEvents
	default:
		return KindDirect
	}
}

// Group returns the group of a group chat, zero for other kinds.
func (id ID) Group() GroupID {
	if id.Hi != 0 {
		return 0
	}
	return GroupID(id.Lo)
}

// Device returns the device of a queue or a packet log, zero for other kinds.
func (id ID) Device() DeviceID {
	if k := id.Kind(); k != KindQueue && k != KindPackets {
		return 0
	}
	return DeviceID(id.Lo)
}

// Peer returns the other user of a direct chat as u sees it (u himself in his
// notes), and zero where u is not part of it or the chat is not direct.
func (id ID) Peer(u UserID) UserID {
	switch {
	case id.Kind() != KindDirect:
		return 0
	case uint64(u) == id.Hi:
		return UserID(id.Lo)
	case uint64(u) == id.Lo:
		return UserID(id.Hi)
	default:
		return 0
	}
}

// Users returns the users whom the id itself names: two for a direct chat, one
// for notes and events, none for a group or a queue.
func (id ID) Users() []UserID {
	switch id.Kind() {
	case KindDirect:
		if id.Hi == id.Lo {
			return []UserID{UserID(id.Hi)}
		}
		return []UserID{UserID(id.Hi), UserID(id.Lo)}
	case KindEvents:
		return []UserID{UserID(id.Hi)}
	default:
		return nil
	}
}

// IDSize is the length of the binary form of an ID.
const IDSize = 16

// Append appends the 16 big-endian bytes of id to b.
func (id ID) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, id.Hi)
	return binary.BigEndian.AppendUint64(b, id.Lo)
}

// DecodeID reads the binary form from the first IDSize bytes of b, which must be
// there.
func DecodeID(b []byte) ID {
	return ID{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// Less orders ids as their binary forms.
func (id ID) Less(o ID) bool {
	return id.Hi < o.Hi || id.Hi == o.Hi && id.Lo < o.Lo
}

// String returns a short form for logs and operators; it holds no names.
func (id ID) String() string {
	switch id.Kind() {
	case KindDirect:
		return fmt.Sprintf("direct:%d:%d", id.Hi, id.Lo)
	case KindGroup:
		return fmt.Sprintf("group:%d", id.Lo)
	case KindEvents:
		return fmt.Sprintf("events:%d", id.Hi)
	case KindQueue:
		return fmt.Sprintf("queue:%d", id.Lo)
	case KindPackets:
		return fmt.Sprintf("packets:%d", id.Lo)
	default:
		return "none"
	}
}
