package storagetest

import (
	"tidings/chat"
	"tidings/storage"
)

// change appends an entry to team that changes members.
func (f *fixture) change(changes ...storage.MemberChange) uint64 {
	f.Helper()
	e := entry(team, 1, f.head(team), "", "change")
	e.Members = changes
	r := f.append(e)[0]
	if r.Outcome != storage.Stored {
		f.Fatalf("entry was not stored: %+v", r)
	}
	return r.Seq
}

func (f *fixture) members(id chat.ID) ([]chat.Member, uint64) {
	f.Helper()
	ms, asOf, err := f.s.Members(ctx, id)
	f.ok(err)
	return ms, asOf
}

func testMembers(f *fixture) {
	f.change(
		storage.MemberChange{User: 30, Role: chat.RoleMember},
		storage.MemberChange{User: 10, Role: chat.RoleOwner},
	) // 1
	f.change(storage.MemberChange{User: 20, Role: chat.RoleMember}) // 2
	f.change(storage.MemberChange{User: 20, Role: chat.RoleAdmin})  // 3: keeps his interval
	f.change(storage.MemberChange{User: 30})                        // 4: sees it still
	f.change(storage.MemberChange{User: 30})                        // 5: is out already
	f.change(storage.MemberChange{User: 40})                        // 6: never was in
	f.change(storage.MemberChange{User: 30, Role: chat.RoleMember}) // 7
	want := []chat.Member{
		{User: 10, Role: chat.RoleOwner, Intervals: []chat.Interval{{From: 1}}},
		{User: 20, Role: chat.RoleAdmin, Intervals: []chat.Interval{{From: 2}}},
		{User: 30, Role: chat.RoleMember, Intervals: []chat.Interval{{From: 1, To: 4}, {From: 7}}},
	}
	f.fill(team, 1, 2)
	f.twice(func() {
		ms, asOf := f.members(team)
		equal(f, "members", ms, want)
		if asOf < 7 || asOf > 9 {
			f.Errorf("valid up to %d, want 7 to 9", asOf)
		}
		ms, asOf = f.members(chat.GroupChat(6))
		if len(ms) != 0 || asOf != 0 {
			f.Errorf("members of an empty group: %v up to %d", ms, asOf)
		}
	})
}

func testMemberHistory(f *fixture) {
	f.change(storage.MemberChange{User: 10, Role: chat.RoleOwner})
	f.change(storage.MemberChange{User: 20, Role: chat.RoleMember, History: true})
	f.change(storage.MemberChange{User: 10, Role: chat.RoleNone})
	f.change(storage.MemberChange{User: 10, Role: chat.RoleMember, History: true})
	ms, _ := f.members(team)
	equal(f, "members", ms, []chat.Member{
		{User: 10, Role: chat.RoleMember, Intervals: []chat.Interval{{From: 1}}},
		{User: 20, Role: chat.RoleMember, Intervals: []chat.Interval{{From: 1}}},
	})
}

// testMembersInBatch: changes in one batch build on each other, and those of
// entries that are not stored have no effect.
func testMembersInBatch(f *fixture) {
	es := []storage.Entry{
		entry(team, 1, 0, "a", "add"), entry(team, 1, 0, "b", "remove"), entry(team, 1, 0, "c", "again"),
		entry(team, 1, 0, "a", "add"), entry(chat.GroupChat(6), 1, 4, "", "moved"),
	}
	es[0].Members = []storage.MemberChange{{User: 10, Role: chat.RoleMember}}
	es[1].Members = []storage.MemberChange{{User: 10}}
	es[2].Members = []storage.MemberChange{{User: 10, Role: chat.RoleMember}, {User: 10, Role: chat.RoleAdmin}}
	es[3].Members = []storage.MemberChange{{User: 11, Role: chat.RoleMember}}
	es[4].Members = []storage.MemberChange{{User: 12, Role: chat.RoleMember}}
	equal(f, "results", outcomes(f.append(es...)),
		[]string{"stored 1", "stored 2", "stored 3", "duplicate 1", "moved 0"})
	f.twice(func() {
		ms, _ := f.members(team)
		equal(f, "members", ms, []chat.Member{
			{User: 10, Role: chat.RoleAdmin, Intervals: []chat.Interval{{From: 1, To: 2}, {From: 3}}},
		})
		ms, _ = f.members(chat.GroupChat(6))
		equal(f, "members where all moved", ms, nil)
		equal(f, "inbox of 12", f.inbox(12, 0), nil)
	})
}
