package storagetest

import (
	"errors"
	"time"

	"tidings/chat"
	"tidings/storage"
)

func device(user chat.UserID, name string) chat.Device {
	return chat.Device{User: user, Name: name, Token: []byte("hash of " + name), ByWord: true, Created: created, Seen: 12}
}

func testDevices(f *fixture) {
	us := f.addUsers("alice", "bob")
	ds := []chat.Device{device(us[0], "phone"), device(us[1], "phone"), device(us[0], "Phone"), device(us[0], "phone")}
	ds[0].ID, ds[0].Epoch = 66, 5 // ignored
	ids := must[[]chat.DeviceID](f)(f.s.AddDevices(ctx, ds))
	if ids[0] == 0 || ids[1] == 0 || ids[2] == 0 || ids[3] != 0 {
		f.Fatalf("ids %v: names count by user and case", ids)
	}
	_, err := f.s.UpdateDevice(ctx, ids[0], func(d *chat.Device) error { d.Revoked = true; return nil })
	f.ok(err)
	phone := device(us[0], "phone")
	phone.ID, phone.Revoked = ids[0], true
	upper := device(us[0], "Phone")
	upper.ID = ids[2]

	f.twice(func() {
		equal(f, "Device", must[chat.Device](f)(f.s.Device(ctx, ids[0])), phone)
		equal(f, "DeviceByName", must[chat.Device](f)(f.s.DeviceByName(ctx, us[0], "Phone")), upper)
		equal(f, "DevicesOf", must[[]chat.Device](f)(f.s.DevicesOf(ctx, us[0])), []chat.Device{phone, upper})
		equal(f, "DevicesOf a stranger", must[[]chat.Device](f)(f.s.DevicesOf(ctx, 999)), nil)
		if _, err := f.s.Device(ctx, 12345); !errors.Is(err, storage.ErrNotFound) {
			f.Errorf("unknown device: %v", err)
		}
		if _, err := f.s.DeviceByName(ctx, us[1], "Phone"); !errors.Is(err, storage.ErrNotFound) {
			f.Errorf("unknown device name: %v", err)
		}
	})
	again := must[[]chat.DeviceID](f)(f.s.AddDevices(ctx, []chat.Device{device(us[0], "phone"), device(us[1], "pad")}))
	if again[0] != 0 {
		f.Errorf("the name of a revoked device was given out again: %d", again[0])
	}
	for _, id := range ids[:3] {
		if again[1] == 0 || again[1] == id {
			f.Errorf("id after reopening: %d; before: %v", again[1], ids)
		}
	}
}

func (f *fixture) addDevice(user chat.UserID, name string) chat.DeviceID {
	f.Helper()
	return must[[]chat.DeviceID](f)(f.s.AddDevices(ctx, []chat.Device{device(user, name)}))[0]
}

func testUpdateDevice(f *fixture) {
	u := f.addUsers("alice")[0]
	id := f.addDevice(u, "phone")
	_, _, _, err := f.s.OpenSession(ctx, id, "n1", 50)
	f.ok(err)
	want := chat.Device{
		ID: id, User: u, Name: "phone", Created: created, Epoch: 1, Node: "n1",
		Token: nil, Seen: 60, Revoked: true, Inbox: true,
	}
	got, err := f.s.UpdateDevice(ctx, id, func(d *chat.Device) error {
		*d = chat.Device{
			ID: 1, User: 2, Name: "x", Created: time.Time{}, Epoch: 3, Node: "y",
			Seen: 60, Revoked: true, Inbox: true,
		}
		return nil
	})
	f.ok(err)
	equal(f, "answer of UpdateDevice", got, want)
	refusal := errors.New("no")
	if _, err := f.s.UpdateDevice(ctx, id, func(d *chat.Device) error { d.Inbox = false; return refusal }); !errors.Is(err, refusal) {
		f.Errorf("error of change came back as %v", err)
	}
	if _, err := f.s.UpdateDevice(ctx, 999, func(*chat.Device) error { return nil }); !errors.Is(err, storage.ErrNotFound) {
		f.Errorf("update of an unknown device: %v", err)
	}
	f.twice(func() { equal(f, "device", must[chat.Device](f)(f.s.Device(ctx, id)), want) })
}

func testSessions(f *fixture) {
	u := f.addUsers("alice")[0]
	id := f.addDevice(u, "phone")

	open := func(node string, now int64, epoch uint32, wantState, wantBefore string) {
		f.Helper()
		d, state, before, err := f.s.OpenSession(ctx, id, node, now)
		f.ok(err)
		want := device(u, "phone")
		want.ID, want.Epoch, want.Node, want.Seen = id, epoch, node, now
		equal(f, "device of OpenSession", d, want)
		equal(f, "device", must[chat.Device](f)(f.s.Device(ctx, id)), want)
		if string(state) != wantState || before != wantBefore {
			f.Fatalf("state %q, open before %q; want %q, %q", state, before, wantState, wantBefore)
		}
	}
	save := func(epoch uint32, state string, closed bool, durable bool) {
		f.Helper()
		st := storage.SessionState{Device: id, Epoch: epoch, Closed: closed, NowMS: 500, Durable: durable}
		if state != "" {
			st.State = []byte(state)
		}
		f.ok(f.s.SaveSession(ctx, st))
	}
	if _, state, _, err := f.s.OpenSession(ctx, id, "n1", 100); err != nil || state != nil {
		f.Fatalf("first session: state %q, error %v", state, err)
	}
	save(1, "one", false, false)
	open("n2", 200, 2, "one", "n1")
	save(1, "late", true, true) // fenced: an older session
	open("n3", 300, 3, "one", "n2")
	save(3, "three", false, false)
	save(3, "", true, true) // keeps the state, ends the session
	d := must[chat.Device](f)(f.s.Device(ctx, id))
	if d.Node != "" || d.Seen != 500 || d.Epoch != 3 {
		f.Fatalf("after the end: %+v", d)
	}
	f.reopen()
	open("n4", 600, 4, "three", "")

	if _, _, _, err := f.s.OpenSession(ctx, 999, "n", 1); !errors.Is(err, storage.ErrNotFound) {
		f.Errorf("session of an unknown device: %v", err)
	}
	if err := f.s.SaveSession(ctx, storage.SessionState{Device: 999}); !errors.Is(err, storage.ErrNotFound) {
		f.Errorf("state of an unknown device: %v", err)
	}
}
