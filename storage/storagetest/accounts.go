package storagetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"tidings/chat"
	"tidings/storage"
)

var created = time.Date(2026, 3, 14, 15, 9, 26, 535_897_932, time.UTC)

func user(name string) chat.User {
	return chat.User{
		Name: name, Title: "The " + name, Created: created,
		Credentials: chat.Credentials{Password: "$argon2id$" + name, SCRAM: "SCRAM-SHA-256$" + name},
	}
}

// addUsers makes accounts with these names; all must be free.
func (f *fixture) addUsers(names ...string) []chat.UserID {
	f.Helper()
	var us []chat.User
	for _, n := range names {
		us = append(us, user(n))
	}
	ids := must[[]chat.UserID](f)(f.s.AddUsers(ctx, us))
	for i, id := range ids {
		if id == 0 {
			f.Fatalf("user %q got no id", names[i])
		}
	}
	return ids
}

func testUsers(f *fixture) {
	us := []chat.User{user("alice"), user("bob"), user("alice")}
	us[0].ID = 77 // ignored
	ids := must[[]chat.UserID](f)(f.s.AddUsers(ctx, us))
	if ids[0] == 0 || ids[1] == 0 || ids[0] == ids[1] || ids[2] != 0 {
		f.Fatalf("ids of alice, bob and alice again: %v", ids)
	}
	_, err := f.s.UpdateUser(ctx, ids[0], func(u *chat.User) error { u.Removed = true; return nil })
	f.ok(err)

	f.twice(func() {
		got := must[[]chat.User](f)(f.s.Users(ctx, []chat.UserID{ids[1], 9999, 0, ids[0]}))
		alice, bob := user("alice"), user("bob")
		alice.ID, bob.ID, alice.Removed = ids[0], ids[1], true
		equal(f, "Users", got, []chat.User{bob, {}, {}, alice})
		got = must[[]chat.User](f)(f.s.UsersByName(ctx, []string{"nobody", "alice", "bob", "ali", ""}))
		equal(f, "UsersByName", got, []chat.User{{}, alice, bob, {}, {}})
	})

	again := must[[]chat.UserID](f)(f.s.AddUsers(ctx, []chat.User{user("bob"), user("carol"), user("alice")}))
	if again[0] != 0 || again[2] != 0 {
		f.Errorf("a name in use, or of a removed user, was given out again: %v", again)
	}
	if again[1] == 0 || again[1] == ids[0] || again[1] == ids[1] {
		f.Errorf("id of carol after reopening: %d; ids before: %v", again[1], ids)
	}
}

func testUpdateUser(f *fixture) {
	id := f.addUsers("alice")[0]
	want := user("alice")
	want.ID, want.Title, want.Writers, want.LastSeen, want.NoReadReceipts = id, "A.", chat.AudienceShared, 5, true
	want.Presence, want.Adders, want.Disabled, want.Credentials = chat.AudienceNobody, chat.AudienceEveryone, true, chat.Credentials{SCRAM: "SCRAM-SHA-256$new"}
	got, err := f.s.UpdateUser(ctx, id, func(u *chat.User) error {
		*u = want
		u.ID, u.Name, u.Created = 99, "mallory", time.Time{}
		return nil
	})
	f.ok(err)
	equal(f, "answer of UpdateUser", got, want)

	refusal := errors.New("no")
	_, err = f.s.UpdateUser(ctx, id, func(u *chat.User) error { u.Title = "B."; return refusal })
	if !errors.Is(err, refusal) {
		f.Errorf("error of change came back as %v", err)
	}
	_, err = f.s.UpdateUser(ctx, 4711, func(*chat.User) error { return nil })
	if !errors.Is(err, storage.ErrNotFound) {
		f.Errorf("update of an unknown user: %v", err)
	}
	f.twice(func() {
		equal(f, "user", must[[]chat.User](f)(f.s.Users(ctx, []chat.UserID{id}))[0], want)
		equal(f, "user of the new name", must[[]chat.User](f)(f.s.UsersByName(ctx, []string{"mallory"}))[0], chat.User{})
	})
}

func testListUsers(f *fixture) {
	f.addUsers("dora", "alice", "bob-2", "bob", "carol")
	var names []string
	after := ""
	for {
		us := must[[]chat.User](f)(f.s.ListUsers(ctx, after, 2))
		if len(us) > 2 {
			f.Fatalf("page of %d", len(us))
		}
		for _, u := range us {
			names = append(names, u.Name)
			after = u.Name
		}
		if len(us) < 2 {
			break
		}
	}
	equal(f, "names", names, []string{"alice", "bob", "bob-2", "carol", "dora"})
}

func testBlocks(f *fixture) {
	ids := f.addUsers("alice", "bob", "carol", "dora")
	a, b, c, d := ids[0], ids[1], ids[2], ids[3]
	for _, x := range []struct {
		user, target chat.UserID
		blocked      bool
	}{{a, d, true}, {a, b, true}, {a, b, true}, {a, c, true}, {a, c, false}, {b, c, false}, {b, a, true}} {
		f.ok(f.s.SetBlock(ctx, x.user, x.target, x.blocked))
	}
	f.twice(func() {
		equal(f, "alice blocks", must[[]chat.UserID](f)(f.s.Blocks(ctx, a)), []chat.UserID{b, d})
		equal(f, "bob blocks", must[[]chat.UserID](f)(f.s.Blocks(ctx, b)), []chat.UserID{a})
		equal(f, "carol blocks", must[[]chat.UserID](f)(f.s.Blocks(ctx, c)), nil)
	})
}

func testGroups(f *fixture) {
	g := chat.Group{ID: 88, Name: "team", Title: "Team", Creator: 3, Created: created, History: true}
	id := must[chat.GroupID](f)(f.s.AddGroup(ctx, g))
	other := must[chat.GroupID](f)(f.s.AddGroup(ctx, chat.Group{Name: "alpha", Created: created}))
	if id == 0 || other == 0 || id == other {
		f.Fatalf("ids %d and %d", id, other)
	}
	// A user may have the name of a group.
	f.addUsers("team")
	want := g
	want.ID, want.Title, want.Removed, want.History = id, "T.", true, false
	want.Invited = []chat.UserID{9, 4}
	got, err := f.s.UpdateGroup(ctx, id, func(g *chat.Group) error {
		*g = want
		g.ID, g.Name, g.Creator, g.Created = 1234, "x", 4, time.Time{}
		return nil
	})
	f.ok(err)
	equal(f, "answer of UpdateGroup", got, want)
	if _, err := f.s.UpdateGroup(ctx, 999, func(*chat.Group) error { return nil }); !errors.Is(err, storage.ErrNotFound) {
		f.Errorf("update of an unknown group: %v", err)
	}
	alpha := chat.Group{ID: other, Name: "alpha", Created: created}
	f.twice(func() {
		equal(f, "Groups", must[[]chat.Group](f)(f.s.Groups(ctx, []chat.GroupID{999, id})), []chat.Group{{}, want})
		equal(f, "GroupsByName",
			must[[]chat.Group](f)(f.s.GroupsByName(ctx, []string{"team", "x", "alpha"})), []chat.Group{want, {}, alpha})
		equal(f, "ListGroups", must[[]chat.Group](f)(f.s.ListGroups(ctx, "", 10)), []chat.Group{alpha, want})
		equal(f, "ListGroups after", must[[]chat.Group](f)(f.s.ListGroups(ctx, "alpha", 10)), []chat.Group{want})
		if n := must[chat.GroupID](f)(f.s.AddGroup(ctx, g)); n != 0 {
			f.Errorf("the name of a removed group was given out again: %d", n)
		}
	})
	if n := must[chat.GroupID](f)(f.s.AddGroup(ctx, chat.Group{Name: "new"})); n == 0 || n == id || n == other {
		f.Errorf("id after reopening: %d; before: %d, %d", n, id, other)
	}
}

// testBulkAdd: thousands of accounts and devices come in one call.
func testBulkAdd(f *fixture) {
	const n = 2000
	us := make([]chat.User, n)
	for i := range us {
		us[i] = chat.User{Name: fmt.Sprintf("u%05d", i), Created: created}
	}
	ids := must[[]chat.UserID](f)(f.s.AddUsers(ctx, us))
	ds := make([]chat.Device, n)
	for i := range ds {
		ds[i] = chat.Device{User: ids[i], Name: "d", Created: created}
	}
	devices := must[[]chat.DeviceID](f)(f.s.AddDevices(ctx, ds))
	seen := map[chat.DeviceID]bool{0: true}
	for i, id := range devices {
		if seen[id] {
			f.Fatalf("device %d: id %d is zero or given twice", i, id)
		}
		seen[id] = true
	}
	f.reopen()
	got := must[[]chat.User](f)(f.s.ListUsers(ctx, "", n+1))
	if len(got) != n || got[n-1].Name != us[n-1].Name || got[n-1].ID != ids[n-1] {
		f.Fatalf("%d users, last %+v", len(got), got[len(got)-1])
	}
}

// testConcurrentUpdates: no change of a record is lost.
func testConcurrentUpdates(f *fixture) {
	id := f.addUsers("alice")[0]
	const workers, rounds = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				if _, err := f.s.UpdateUser(ctx, id, func(u *chat.User) error { u.LastSeen++; return nil }); err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := must[[]chat.User](f)(f.s.Users(ctx, []chat.UserID{id}))[0].LastSeen; got != workers*rounds {
		f.Errorf("%d of %d changes are there", got, workers*rounds)
	}
}
