package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
)

// refused checks that an operation is refused with a code; "" wants it done.
func refused(t *testing.T, what string, err error, code string) {
	t.Helper()
	r, ok := errors.AsType[*delivery.Refusal](err)
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case code != "" && (!ok || r.Code != code):
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// heard returns what a device has of a chat once everything has come to rest.
func (d *device) heard(topic string) []string {
	rest()
	return d.types(topic)
}

// TestGroupRoles walks a group through what its roles may do.
func TestGroupRoles(t *testing.T) {
	w := newWorld(t, "owner", "admin", "member", "other", "stranger")
	ctx, e := t.Context(), w.e
	w.group(w.connect("owner", "x"), "team", "admin", "member", "other")
	role := func(by, who, role string) error {
		_, err := e.SetRole(ctx, w.actor(by), "team", []string{who}, role)
		return err
	}
	add := func(by, who string) error {
		_, err := e.AddMembers(ctx, w.actor(by), "team", []string{who})
		return err
	}
	remove := func(by, who string) error {
		_, err := e.RemoveMembers(ctx, w.actor(by), "team", []string{who})
		return err
	}
	leave := func(who string) error {
		_, err := e.LeaveGroup(ctx, w.actor(who), "team")
		return err
	}
	title := "Title"
	update := func(by string) error {
		_, err := e.UpdateGroup(ctx, w.actor(by), "team", delivery.GroupChange{Title: &title})
		return err
	}
	_, again := e.CreateGroup(ctx, w.actor("other"), delivery.GroupSpec{Name: "team"})
	for _, tt := range []struct {
		what, code string
		err        error
	}{
		{"create a group that exists", delivery.CodeExists, again},
		{"member gives roles", delivery.CodeForbidden, role("member", "other", "admin")},
		{"owner makes an admin", "", role("owner", "admin", "admin")},
		{"admin gives roles", delivery.CodeForbidden, role("admin", "other", "admin")},
		{"role of a stranger", delivery.CodeNotMember, role("owner", "stranger", "admin")},
		{"unknown role", delivery.CodeMalformed, role("owner", "other", "king")},
		{"member adds", delivery.CodeForbidden, add("member", "stranger")},
		{"stranger adds himself", delivery.CodeNotMember, add("stranger", "stranger")},
		{"admin adds", "", add("admin", "stranger")},
		{"unknown user", delivery.CodeNotFound, add("admin", "nobody")},
		{"member removes", delivery.CodeForbidden, remove("member", "other")},
		{"admin removes a member", "", remove("admin", "stranger")},
		{"admin removes the owner", delivery.CodeForbidden, remove("admin", "owner")},
		{"member updates", delivery.CodeForbidden, update("member")},
		{"admin updates", "", update("admin")},
		{"stranger updates", delivery.CodeNotMember, update("stranger")},
		{"last owner leaves", delivery.CodeLastOwner, leave("owner")},
		{"last owner steps down", delivery.CodeLastOwner, role("owner", "owner", "member")},
		{"member leaves", "", leave("member")},
		{"member leaves again", delivery.CodeNotMember, leave("member")},
		{"second owner", "", role("owner", "admin", "owner")},
		{"owner leaves", "", leave("owner")},
	} {
		refused(t, tt.what, tt.err, tt.code)
	}
	info, err := e.GetGroup(ctx, w.ids["other"], "team", "", 0)
	want := []delivery.MemberInfo{{User: "admin", Role: "owner"}, {User: "other", Role: "member"}}
	if err != nil || !slices.Equal(info.Members, want) || info.Title != title || info.Role != "member" {
		t.Errorf("the group is %+v, %v", info, err)
	}
	_, err = e.GetGroup(ctx, w.ids["member"], "team", "", 0)
	refused(t, "get by who has left", err, delivery.CodeNotMember)
}

// Each member sees the changes in their place of the log; who is removed sees that
// and nothing behind it, live or later.
func TestMembershipIsInTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob", "carol")
		alice, bob, carol := w.online("alice", "phone"), w.online("bob", "phone"), w.online("carol", "phone")
		w.group(alice, "team", "bob")
		alice.send("g/team", "1")
		if _, err := w.e.AddMembers(t.Context(), w.actor("alice"), "team", []string{"carol"}); err != nil {
			t.Fatal(err)
		}
		carol.send("g/team", "2")
		if _, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
			t.Fatal(err)
		}
		alice.send("g/team", "3")
		if a := bob.publish(text("g/team", "no", 9)); a.code != delivery.CodeNotAllowed {
			t.Errorf("who is removed could write: %+v", a)
		}
		if a := bob.publish(delivery.Publish{Topic: []byte("g/team/read"), Payload: []byte(`{"seq":6}`), QoS: 1, PacketID: 9}); a.code != delivery.CodeNotAllowed {
			t.Errorf("who is removed could mark as read: %+v", a)
		}
		stays := []string{chat.TypeSysCreate, "1", chat.TypeSysAdd, "2", chat.TypeSysRemove}
		if got := bob.heard("g/team"); !slices.Equal(got, stays) {
			t.Errorf("bob has %q", got)
		}
		if got := carol.heard("g/team"); !slices.Equal(got, []string{chat.TypeSysAdd, chat.TypeSysRemove, "3"}) {
			t.Errorf("carol has %q", got)
		}
		page, err := w.e.History(t.Context(), w.actor("bob"), "g/team", 0, 0, 0)
		if err != nil || len(page.Messages) != len(stays) {
			t.Errorf("history of who was removed: %d entries, %v", len(page.Messages), err)
		}
		bob.close(true)
		bob = w.online("bob", "tablet", clean)
		if got := bob.heard("g/team"); len(got) != 0 {
			t.Errorf("a new device has %q", got)
		}
		if _, err := w.e.AddMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
			t.Fatal(err)
		}
		alice.send("g/team", "4")
		if got := bob.heard("g/team"); !slices.Equal(got, []string{chat.TypeSysAdd, "4"}) {
			t.Errorf("added again, he has %q", got)
		}
	})
}

// With the group's history setting a new member gets what was before him, whether
// he is connected or not.
func TestHistoryComesToNewMembers(t *testing.T) {
	for _, live := range []bool{true, false} {
		for _, history := range []bool{true, false} {
			t.Run(fmt.Sprintf("live=%v/history=%v", live, history), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := newWorld(t, "alice", "bob")
					alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
					if _, err := w.e.CreateGroup(t.Context(), w.actor("alice"), delivery.GroupSpec{Name: "team", History: history}); err != nil {
						t.Fatal(err)
					}
					alice.send("g/team", "1")
					alice.send("g/team", "2")
					if !live {
						bob.close(true)
					}
					if _, err := w.e.AddMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
						t.Fatal(err)
					}
					alice.send("g/team", "3")
					if !live {
						bob = w.online("bob", "phone")
					}
					want := []string{chat.TypeSysAdd, "3"}
					if history {
						want = []string{chat.TypeSysCreate, "1", "2", chat.TypeSysAdd, "3"}
					}
					if got := bob.heard("g/team"); !slices.Equal(got, want) {
						t.Errorf("the new member has %q", got)
					}
				})
			})
		}
	}
}

func TestTenThousandMembers(t *testing.T) {
	const n = 10_000
	w := newWorld(t, "alice")
	users := make([]chat.User, n)
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("m%05d", i)
		users[i] = chat.User{Name: names[i]}
	}
	if _, err := w.store.AddUsers(t.Context(), users); err != nil {
		t.Fatal(err)
	}
	alice := w.online("alice", "phone")
	w.group(alice, "all")
	_, err := w.e.AddMembers(t.Context(), w.actor("alice"), "all", names[:delivery.MaxNames+1])
	refused(t, "too many names", err, delivery.CodeQuota)
	for part := range slices.Chunk(names, delivery.MaxNames) {
		if r, err := w.e.AddMembers(t.Context(), w.actor("alice"), "all", part); err != nil || len(r.Added) != len(part) {
			t.Fatalf("added %d, %v", len(r.Added), err)
		}
	}
	last := w.online(names[n-1], "phone")
	alice.send("g/all", "hi")
	if got := last.texts("g/all", 1); got[0] != "hi" {
		t.Errorf("got %q", got)
	}
	info, err := w.e.GetGroup(t.Context(), w.ids["alice"], "all", "m00499", 500)
	if err != nil || info.Count != n+1 || len(info.Members) != 500 || info.Members[0].User != "m00500" || info.Next != "m00999" {
		t.Errorf("%d members, page of %d, next %q, %v", info.Count, len(info.Members), info.Next, err)
	}
}

func TestAddersDecideBetweenMemberAndInvitation(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	nobody, everyone := chat.AudienceNobody, chat.AudienceEveryone
	if _, err := w.e.UpdateUser(t.Context(), w.ids["bob"], delivery.UserChange{Adders: &nobody}); err != nil {
		t.Fatal(err)
	}
	alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
	w.group(alice, "team")
	add := func() delivery.MembersResult {
		t.Helper()
		r, err := w.e.AddMembers(t.Context(), w.actor("alice"), "team", []string{"bob"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	join := func() error {
		_, err := w.e.JoinGroup(t.Context(), w.actor("bob"), "team")
		return err
	}
	remove := func() {
		t.Helper()
		if _, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, "join without an invitation", join(), delivery.CodeNotAllowed)
	if r := add(); len(r.Added) != 0 || !slices.Equal(r.Invited, []string{"bob"}) {
		t.Errorf("added %+v", r)
	}
	if a := bob.publish(text("g/team", "hi", 1)); a.code != delivery.CodeNotAllowed {
		t.Errorf("an invited user could write: %+v", a)
	}
	refused(t, "join", join(), "")
	bob.send("g/team", "hi")
	remove()
	refused(t, "join by a used invitation", join(), delivery.CodeNotAllowed)
	add() // an invitation that adding him makes void
	if _, err := w.e.UpdateUser(t.Context(), w.ids["bob"], delivery.UserChange{Adders: &everyone}); err != nil {
		t.Fatal(err)
	}
	if r := add(); !slices.Equal(r.Added, []string{"bob"}) {
		t.Errorf("added %+v", r)
	}
	remove()
	refused(t, "join by a void invitation", join(), delivery.CodeNotAllowed)
}

// Who may be written to by people of shared chats can be answered, and a shared
// group counts as soon as there is one.
func TestWritersPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob", "carol", "dave")
		shared, nobody := chat.AudienceShared, chat.AudienceNobody
		for u, a := range map[string]*chat.Audience{"alice": &shared, "dave": &nobody} {
			if _, err := w.e.UpdateUser(t.Context(), w.ids[u], delivery.UserChange{Writers: a}); err != nil {
				t.Fatal(err)
			}
		}
		alice, bob, carol := w.online("alice", "phone"), w.online("bob", "phone"), w.online("carol", "phone")
		can := func(d *device, topic string, want bool) {
			t.Helper()
			if a := d.publish(text(topic, "hi", 1)); (a.code == "") != want {
				t.Errorf("%s to %s: %q", d.name, topic, a.code)
			}
		}
		can(bob, "u/alice", false)
		can(alice, "u/bob", true)
		can(bob, "u/alice", true) // an answer
		can(carol, "u/alice", false)
		can(carol, "u/dave", false)
		w.group(alice, "team", "carol")
		rest()
		rest()
		can(carol, "u/alice", true)
		if _, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"carol"}); err != nil {
			t.Fatal(err)
		}
		rest()
		rest()
		can(carol, "u/alice", false)
	})
}

// A store so slow that policies age while a batch is read keeps nobody from
// committing, and neither does a ledger that is too small for a batch.
func TestCommitterComesToAnEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob", "carol", "dave")
		shared := chat.AudienceShared
		for _, u := range []string{"bob", "carol", "dave"} {
			if _, err := w.e.UpdateUser(t.Context(), w.ids[u], delivery.UserChange{Writers: &shared}); err != nil {
				t.Fatal(err)
			}
		}
		alice := w.online("alice", "phone")
		w.group(alice, "team", "bob", "carol", "dave")
		w.e.LimitLedger(1)
		var slow atomic.Int32
		w.gate.on("Inbox", func() error {
			if slow.Add(1) < 1000 {
				<-after(700) // twice for one policy
			}
			return nil
		})
		alice.ask(text("u/bob", "1", 1), text("u/carol", "2", 2), text("u/dave", "3", 3), text("g/team", "4", 4))
		alice.wait("four answers", func() bool { return len(alice.answers) == 4 })
		for _, a := range alice.answers {
			if a.code != "" {
				t.Errorf("answered %+v", a)
			}
		}
	})
}

func TestBlockingIsLive(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
	alice.send("u/bob", "1")
	set := func(on bool) {
		t.Helper()
		if err := w.e.SetBlock(t.Context(), w.actor("bob"), "alice", on); err != nil {
			t.Fatal(err)
		}
	}
	set(true)
	if a := alice.publish(text("u/bob", "2", 2)); a.code != delivery.CodeNotAllowed {
		t.Errorf("blocked, and answered %+v", a)
	}
	if list, err := w.e.Blocks(t.Context(), w.ids["bob"]); err != nil || !slices.Equal(list, []string{"alice"}) {
		t.Errorf("bob blocks %v, %v", list, err)
	}
	set(false)
	alice.send("u/bob", "3")
	if got := bob.texts("u/alice", 2); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("bob got %q", got)
	}
	refused(t, "block oneself", w.e.SetBlock(t.Context(), w.actor("bob"), "bob", true), delivery.CodeMalformed)
}

func TestDisablingEndsSessionsAndWhatTheyHaveQueued(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	w.group(alice, "team", "bob")
	alice.deaf = true // the carrier has not got round to it
	if err := w.e.SetDisabled(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	alice.wait("its end", func() bool { return alice.closed == delivery.ReasonNotAuthorized })
	for _, topic := range []string{"u/bob", "g/team"} {
		if a := alice.publish(text(topic, "late", 2)); a.code != delivery.CodeNotAllowed {
			t.Errorf("publish to %s of a disabled user: %+v", topic, a)
		}
		if _, err := w.e.Post(t.Context(), alice.s.Identity(), &delivery.Publish{Topic: []byte(topic), Payload: []byte("will"), Text: true}, "will"); err == nil {
			t.Errorf("a will to %s of a disabled user was stored", topic)
		}
	}
	if _, err := w.e.Login(t.Context(), &hooks.Login{User: "alice", Client: "phone"}); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("login of a disabled user: %v", err)
	}
	if a := w.online("bob", "phone").publish(text("u/alice", "hi", 1)); a.code != delivery.CodeNotAllowed {
		t.Errorf("publish to a disabled user: %+v", a)
	}
	if err := w.e.SetDisabled(t.Context(), "alice", false); err != nil {
		t.Fatal(err)
	}
	alice.s.Close(t.Context(), delivery.CloseHow{})
	w.online("alice", "phone").send("u/bob", "back")
}

func TestRevokingEndsTheSessionAndBarsTheName(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	id := alice.s.Identity() // of a login that races with what follows
	refused(t, "revoke without a word about the password",
		w.e.RevokeOwn(t.Context(), w.ids["alice"], delivery.Revoke{Device: "phone"}), delivery.CodePasswordRequired)
	refused(t, "revoke", w.e.RevokeOwn(t.Context(), w.ids["alice"], delivery.Revoke{Device: "phone", KeepPassword: true}), "")
	alice.wait("its end", func() bool { return alice.closed == delivery.ReasonNotAuthorized })
	if _, err := w.e.Login(t.Context(), &hooks.Login{User: "alice", Client: "phone"}); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("login of a revoked device: %v", err)
	}
	if _, _, err := w.e.Open(t.Context(), id, delivery.OpenOptions{Link: alice}); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("open by a login from before: %v", err)
	}
	if users, sessions := w.e.Live(); users+sessions != 0 {
		t.Errorf("%d sessions are live", sessions)
	}
	refused(t, "revoke again", w.e.RevokeOwn(t.Context(), w.ids["alice"], delivery.Revoke{Device: "phone"}), delivery.CodeNotFound)
	w.online("alice", "laptop").send("u/bob", "hi")
}

// Corrections that are asked for while the engine ends keep nobody waiting.
func TestCorrectionsAfterShutdown(t *testing.T) {
	w := newWorld(t, "alice")
	e := w.e
	w.stop()
	e.ForgetChat(chat.GroupChat(1))
	w.start()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.e.Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("sweep: %v", err)
	}
}
