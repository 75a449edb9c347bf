package pebble

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidings/chat"
	"tidings/storage"
)

// Every decoder of a stored record: it never panics, its errors are
// storage.ErrCorrupt with the key, and what it accepts is encoded to the same
// bytes again.

func checkCorrupt(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("error %v is not storage.ErrCorrupt", err)
	}
}

func checkSame(t *testing.T, value, again []byte) {
	t.Helper()
	if !bytes.Equal(value, again) {
		t.Fatalf("decoded and encoded again:\n%x\nwas\n%x", again, value)
	}
}

func sampleMessage() chat.Message {
	m := chat.Message{
		Chat: chat.DirectChat(1, 2), Seq: 3, From: 4, Device: 5, Epoch: 6, PacketID: 7, Time: 8, Expires: 9,
		Type: "text", CID: []byte("cid"), Re: []byte("{}"), Mentions: []byte("[]"), Body: []byte(`"hi"`),
	}
	copy(m.ID[:], "0123456789abcdef")
	return m
}

func FuzzMessageRecord(f *testing.F) {
	m := sampleMessage()
	f.Add(appendMessage(nil, &m))
	m.Stub, m.Digest = true, m.ContentDigest()
	f.Add(appendMessage(nil, &m))
	f.Add([]byte{messageVersion})
	key := messageKey(nil, m.Chat, m.Seq)
	f.Fuzz(func(t *testing.T, value []byte) {
		var m chat.Message
		if err := decodeMessage(key, value, &m); err != nil {
			checkCorrupt(t, err)
			return
		}
		again := appendMessage(nil, &m)
		checkSame(t, value, again)
		if n := messageSize(&m); n != len(again) {
			t.Fatalf("messageSize says %d, record has %d bytes", n, len(again))
		}
		if at, err := messageTime(key, value); err != nil || at != m.Time {
			t.Fatalf("messageTime: %d, %v; message has %d", at, err, m.Time)
		}
	})
}

func FuzzMemberRecord(f *testing.F) {
	m := chat.Member{User: 1, Role: chat.RoleAdmin, Intervals: []chat.Interval{{From: 1, To: 300}, {From: 1 << 40}}}
	f.Add(appendMember(nil, &m))
	f.Add([]byte{memberVersion, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	key := memberKey(nil, chat.GroupChat(1), 1)
	f.Fuzz(func(t *testing.T, value []byte) {
		m := chat.Member{User: 1}
		if err := decodeMember(key, value, &m); err != nil {
			checkCorrupt(t, err)
			return
		}
		checkSame(t, value, appendMember(nil, &m))
	})
}

func FuzzDeviceRecord(f *testing.F) {
	d := chat.Device{
		ID: 1, User: 2, Name: "phone", Token: []byte("hash"), ByWord: true, Created: time.Unix(1_700_000_000, 5).UTC(),
		Seen: 3, Revoked: true, Inbox: true, Epoch: 4, Node: "n1",
	}
	f.Add(appendDevice(nil, &d))
	f.Add(appendDevice(nil, &chat.Device{}))
	key := key1(nil, tagDevice, 1)
	f.Fuzz(func(t *testing.T, value []byte) {
		var d chat.Device
		if err := decodeDevice(key, value, &d); err != nil {
			checkCorrupt(t, err)
			return
		}
		checkSame(t, value, appendDevice(nil, &d))
	})
}

func FuzzAdminRecord(f *testing.F) {
	f.Add([]byte("\x01{\"Name\":\"alice\",\"Created\":\"2026-01-01T00:00:00Z\"}"))
	f.Add([]byte("\x01null"))
	f.Add([]byte("\x02{}"))
	f.Fuzz(func(t *testing.T, value []byte) {
		var u chat.User
		if err := decodeUser(key1(nil, tagUser, 1), value, &u); err != nil {
			checkCorrupt(t, err)
		} else if again, err := encodeUser(&u); err == nil { // JSON has more than one form
			var same chat.User
			if err := decodeUser(key1(nil, tagUser, 1), again, &same); err != nil || !same.Created.Equal(u.Created) || same.Name != u.Name {
				t.Fatalf("%+v came back as %+v, %v", u, same, err)
			}
		}
		var g chat.Group
		if err := decodeGroup(key1(nil, tagGroup, 1), value, &g); err != nil {
			checkCorrupt(t, err)
		}
	})
}

func FuzzRetainedRecord(f *testing.F) {
	f.Add(keyName(nil, tagRetained, "home/door"), []byte("open"))
	f.Add([]byte{tagRetained}, []byte("open"))
	f.Add(keyName(nil, tagRetained, "a"), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := decodeRetained(key, value)
		if err != nil {
			checkCorrupt(t, err)
			return
		}
		checkSame(t, key[1:], []byte(r.Topic))
		checkSame(t, value, r.Body)
	})
}

// FuzzKeys: whatever is in a row, the numbers and keys around it are errors at
// most.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("m"), []byte("x"))
	f.Add(messageKey(nil, chat.DirectChat(1, 2), 1), make([]byte, 8))
	f.Add(key1(nil, tagUser, 1), make([]byte, 16))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		var m chat.Message
		var d chat.Device
		var u chat.User
		_, errNumber := number(key, value)
		_, _, errMarks := decodeMarks(key, value)
		_, errTime := messageTime(key, value)
		_, errMerge := maximum.Merge(key, value)
		_, errListed := listedDevice(key)
		for _, err := range []error{
			errNumber, errMarks, errTime, errMerge, errListed,
			decodeMessage(key, value, &m), decodeDevice(key, value, &d), decodeUser(key, value, &u),
		} {
			if err != nil {
				checkCorrupt(t, err)
			}
		}
	})
}

// fill sets every field of a struct to something that is not zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		switch field := v.Field(i); field.Interface().(type) {
		case time.Time:
			field.Set(reflect.ValueOf(time.Unix(1_700_000_000, 7).UTC()))
		default:
			switch field.Kind() {
			case reflect.String:
				field.SetString(v.Type().Field(i).Name)
			case reflect.Bool:
				field.SetBool(true)
			case reflect.Int64, reflect.Int:
				field.SetInt(int64(i + 1))
			case reflect.Uint64, reflect.Uint32, reflect.Uint16:
				field.SetUint(uint64(i + 1))
			case reflect.Slice:
				field.Set(reflect.MakeSlice(field.Type(), 2, 2))
				field.Index(0).SetUint(uint64(i + 1))
			case reflect.Struct:
				fill(t, field)
			default:
				t.Fatalf("field %s: no sample for %s", v.Type().Field(i).Name, field.Type())
			}
		}
	}
}

// TestUserWithoutVerifier: accounts from before there were verifiers are read.
func TestUserWithoutVerifier(t *testing.T) {
	value := []byte("\x01" + `{"ID":7,"Name":"alice","Title":"Alice","Password":"$argon2id$","Created":"2026-01-01T00:00:00Z","LastSeen":5}`)
	var got chat.User
	if err := decodeUser(key1(nil, tagUser, 7), value, &got); err != nil {
		t.Fatal(err)
	}
	want := chat.User{
		ID: 7, Name: "alice", Title: "Alice", Credentials: chat.Credentials{Password: "$argon2id$"},
		Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), LastSeen: 5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNoFieldIsLost: all fields of the domain types come back from their records,
// also ones that are added later.
func TestNoFieldIsLost(t *testing.T) {
	var u, u2 chat.User
	var g, g2 chat.Group
	var d, d2 chat.Device
	fill(t, reflect.ValueOf(&u).Elem())
	fill(t, reflect.ValueOf(&g).Elem())
	fill(t, reflect.ValueOf(&d).Elem())
	uv, err1 := encodeUser(&u)
	gv, err2 := encodeGroup(&g)
	err3 := decodeUser(key1(nil, tagUser, uint64(u.ID)), uv, &u2)
	err4 := decodeGroup(key1(nil, tagGroup, uint64(g.ID)), gv, &g2)
	err5 := decodeDevice(key1(nil, tagDevice, uint64(d.ID)), appendDevice(nil, &d), &d2)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	for _, diff := range []string{cmp.Diff(u, u2), cmp.Diff(g, g2), cmp.Diff(d, d2)} {
		if diff != "" {
			t.Errorf("record lost something (-want +got):\n%s", diff)
		}
	}
	// A stub keeps everything but the content.
	m := sampleMessage()
	m.Digest, m.Stub, m.Re, m.Mentions, m.Body = m.ContentDigest(), true, nil, nil, nil
	var m2 chat.Message
	if err := decodeMessage(messageKey(nil, m.Chat, m.Seq), appendMessage(nil, &m), &m2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, m2); diff != "" {
		t.Errorf("stub (-want +got):\n%s", diff)
	}
}

// TestLongKeysAreCut: the error of a row names it, but not by 64 KiB.
func TestLongKeysAreCut(t *testing.T) {
	key := keyName(nil, tagRetained, "home/"+strings.Repeat("\x01", 65_000))
	_, err := decodeRetained(key, nil)
	for _, err := range []error{err, readError(key, storage.ErrCorrupt), readError(key, errShort)} {
		if n := len(err.Error()); n > 1000 || !strings.Contains(err.Error(), "Thome/") {
			t.Errorf("%d bytes: %.50s", n, err)
		}
	}
}

// TestSecretsStayOut: the error of a broken account does not quote its password.
func TestSecretsStayOut(t *testing.T) {
	var u chat.User
	err := decodeUser(key1(nil, tagUser, 1), []byte("\x01{\"Password\":\"$argon2id$secret\",\"Created\":\"secret\"}"), &u)
	checkCorrupt(t, err)
	if bytes.Contains([]byte(err.Error()), []byte("secret")) {
		t.Errorf("error quotes the record: %v", err)
	}
}
