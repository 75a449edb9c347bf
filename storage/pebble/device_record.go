package pebble

import (
	"encoding/binary"
	"time"

	"tidings/chat"
)

// A device record:
//
//	0   version, 1
//	1   flags: bit 0 by word, 1 revoked, 2 inbox
//	2   user, 8 bytes
//	10  created: Unix seconds 8 bytes, nanoseconds 4 bytes
//	22  seen, Unix ms, 8 bytes
//	30  epoch, 4 bytes
//	34  name, token, node: each its length as a varint, then the bytes
//
// The device id is in the key. The record is binary because each connect
// rewrites it.
const (
	deviceVersion = 1
	flagByWord    = 1
	flagRevoked   = 2
	flagInbox     = 4
)

// appendDevice appends d's record to b.
func appendDevice(b []byte, d *chat.Device) []byte {
	var flags byte
	if d.ByWord {
		flags |= flagByWord
	}
	if d.Revoked {
		flags |= flagRevoked
	}
	if d.Inbox {
		flags |= flagInbox
	}
	b = append(b, deviceVersion, flags)
	b = be(b, uint64(d.User))
	b = be(b, uint64(d.Created.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(d.Created.Nanosecond()))
	b = be(b, uint64(d.Seen))
	b = binary.BigEndian.AppendUint32(b, d.Epoch)
	b = appendString(b, d.Name)
	b = appendBytes(b, d.Token)
	return appendString(b, d.Node)
}

// decodeDevice reads the row of a device. It keeps nothing of key and value.
func decodeDevice(key, value []byte, d *chat.Device) error {
	if len(key) != 1+8 {
		return keyError(key, "not the key of a device")
	}
	*d = chat.Device{ID: chat.DeviceID(binary.BigEndian.Uint64(key[1:]))}
	r := reader{b: value}
	r.version(deviceVersion)
	flags := r.byte()
	if flags&^(flagByWord|flagRevoked|flagInbox) != 0 {
		r.fail(errValue)
	}
	d.ByWord, d.Revoked, d.Inbox = flags&flagByWord != 0, flags&flagRevoked != 0, flags&flagInbox != 0
	d.User = chat.UserID(r.u64())
	sec, nsec := int64(r.u64()), r.u32()
	if nsec >= 1e9 {
		r.fail(errValue)
	}
	d.Created = time.Unix(sec, int64(nsec)).UTC()
	d.Seen = int64(r.u64())
	d.Epoch = r.u32()
	d.Name = string(r.bytes())
	if token := r.bytes(); token != nil {
		d.Token = append([]byte(nil), token...)
	}
	d.Node = string(r.bytes())
	if err := r.end(); err != nil {
		return keyError(key, err.Error())
	}
	return nil
}
