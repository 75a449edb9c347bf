package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"tidings/api"
	"tidings/chat"
	"tidings/delivery"
	"tidings/storage"
)

func TestMalformedParametersAreNamed(t *testing.T) {
	w := newWorld(t, nil)
	for _, test := range []struct{ operation, params, want string }{
		{"group.create", `[]`, "object"},
		{"group.create", `null`, "object"},
		{"group.create", `{"group":"a"`, ""},
		{"group.create", `{}`, `"group" is missing`},
		{"group.create", `{"group":null}`, `"group" is missing`},
		{"group.create", `{"group":"a","group":"b"}`, "twice"},
		{"group.create", `{"group":"a","colour":"red"}`, `"colour"`},
		{"group.create", `{"Group":"a"}`, `"group" is missing`},
		{"group.create", `{"group":7}`, `"group" has to be a string`},
		{"group.create", `{"group":"a","members":"bob"}`, `"members" has to be an array`},
		{"group.create", `{"group":"a","members":[1]}`, `"members" has to be a string`},
		{"group.create", `{"group":"a","history":"yes"}`, `"history" has to be true or false`},
		{"group.create", `{"group":"A b"}`, "name"},
		{"group.create", `{"group":"a","retention":"soon"}`, "retention"},
		{"group.update", `{"group":"a"}`, "one of"},
		{"group.role", `{"group":"a","members":["bob"],"role":"king"}`, "role"},
		{"history", `{"chat":"u/bob","before":-1}`, `"before" has to be a whole number that is not negative`},
		{"history", `{"chat":"u/bob","limit":1.5}`, `"limit" has to be a whole number`},
		{"history", `{"chat":"u/bob","a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "deep"},
		{"history", "{\"chat\":\"u/bob\xff\"}", "UTF-8"},
		{"user.update", `{"presence":"some"}`, "audience"},
		{"device.revoke", `{"device":"x","password":"abc"}`, "password cannot be used"},
	} {
		r := w.refused("alice", test.operation, test.params)
		if r.Code != delivery.CodeMalformed || !strings.Contains(r.Message, test.want) {
			t.Errorf("%s %.60s: %v, want malformed … %s", test.operation, test.params, r, test.want)
		}
	}
}

func TestRIDAndEmptyParametersAreFine(t *testing.T) {
	w := newWorld(t, nil)
	w.call("alice", "chat.list", "")
	w.call("alice", "chat.list", `{"rid":"7"}`)
}

func TestUnknownOperation(t *testing.T) {
	w := newWorld(t, nil)
	if r := w.refused("alice", "user.add", `{}`); r.Code != api.CodeUnknownOperation {
		t.Errorf("a user's call of an operator's operation: %v", r)
	}
}

func TestFreshTellsWhatOnlyReads(t *testing.T) {
	table := api.Users(api.Config{})
	for operation, want := range map[string]bool{"history": true, "chat.list": true, "group.create": false, "block.add": false, "nope": true} {
		if got := table.Fresh(operation); got != want {
			t.Errorf("Fresh(%q) = %v", operation, got)
		}
	}
}

func TestGroups(t *testing.T) {
	w := newWorld(t, nil)
	made := w.call("alice", "group.create", `{"group":"team","title":"The <Team>","members":["bob"],"history":true}`)
	if made != `{"added":["bob"],"invited":[],"seq":1}` {
		t.Errorf("group.create: %s", made)
	}
	if r := w.refused("bob", "group.create", `{"group":"team"}`); r.Code != delivery.CodeExists {
		t.Errorf("same name: %v", r)
	}
	if r := w.refused("bob", "group.add", `{"group":"team","members":["carol"]}`); r.Code != delivery.CodeForbidden {
		t.Errorf("member adds: %v", r)
	}
	w.call("alice", "group.role", `{"group":"team","members":["bob"],"role":"admin"}`)
	w.call("bob", "group.add", `{"group":"team","members":["carol"]}`)
	w.call("bob", "group.update", `{"group":"team","retention":"30d"}`)
	got := w.call("carol", "group.get", `{"group":"team","limit":2}`)
	for path, want := range map[string]any{"title": "The <Team>", "creator": "alice", "role": "member", "count": 3.0, "next": "bob", "retention": "30d", "history": true} {
		if v := field(t, got, path); v != want {
			t.Errorf("group.get: %s is %v, want %v", path, v, want)
		}
	}
	if next := w.call("carol", "group.get", `{"group":"team","after":"bob"}`); field(t, next, "members", 0, "user") != "carol" || field(t, next, "next") != nil {
		t.Errorf("second page: %s", next)
	}
	w.call("bob", "group.remove", `{"group":"team","members":["carol"]}`)
	if r := w.refused("carol", "group.get", `{"group":"team"}`); r.Code != delivery.CodeNotMember {
		t.Errorf("after removal: %v", r)
	}
	if r := w.refused("alice", "group.leave", `{"group":"team"}`); r.Code != delivery.CodeLastOwner {
		t.Errorf("last owner leaves: %v", r)
	}
	w.call("bob", "group.leave", `{"group":"team"}`)
}

func TestInvitationIsJoined(t *testing.T) {
	w := newWorld(t, nil)
	set := w.call("bob", "user.update", `{"adders":"nobody","name":"Bob","read_receipts":false}`)
	if set != `{"user":"bob","name":"Bob","settings":{"presence":"everyone","writers":"everyone","adders":"nobody","read_receipts":false}}` {
		t.Errorf("user.update: %s", set)
	}
	if made := w.call("alice", "group.create", `{"group":"team","members":["bob"]}`); field(t, made, "invited", 0) != "bob" {
		t.Errorf("group.create: %s", made)
	}
	if r := w.refused("carol", "group.join", `{"group":"team"}`); r.Code != delivery.CodeNotAllowed {
		t.Errorf("uninvited: %v", r)
	}
	w.call("bob", "group.join", `{"group":"team"}`)
	if got := w.call("bob", "group.get", `{"group":"team"}`); field(t, got, "count") != 2.0 {
		t.Errorf("group.get: %s", got)
	}
}

func TestBodiesArePassedOnByteForByte(t *testing.T) {
	w := newWorld(t, nil)
	body := `{ "html":"<b>&</b>",  "n":1.50 }`
	w.say("alice", "u/bob", `{"body":`+body+`}`)
	for _, answer := range []string{w.call("bob", "history", `{"chat":"u/alice"}`), w.call("bob", "chat.list", `{}`)} {
		if !strings.Contains(answer, `"body":`+body+`}`) {
			t.Errorf("the body is not as sent: %s", answer)
		}
	}
}

func TestHistoryPages(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 5 {
		w.say("alice", "u/bob", fmt.Sprint("m", i+1))
	}
	page := w.call("bob", "history", `{"chat":"u/alice","limit":2}`)
	if field(t, page, "messages", 0, "seq") != 4.0 || field(t, page, "more") != true || field(t, page, "head") != 5.0 {
		t.Errorf("latest page: %s", page)
	}
	page = w.call("bob", "history", `{"chat":"u/alice","after":3}`)
	if field(t, page, "messages", 0, "body") != "m4" || field(t, page, "more") != false {
		t.Errorf("behind 3: %s", page)
	}
	if r := w.refused("bob", "history", `{"chat":"g/none"}`); r.Code != delivery.CodeNotAllowed {
		t.Errorf("unknown group: %v", r)
	}
}

func TestChatListPagesLoseNoChat(t *testing.T) {
	w := newWorld(t, nil)
	const chats = 30
	for i := range chats {
		w.operate("user.add", fmt.Sprintf(`{"users":[{"user":"u%d"}]}`, i))
		w.say("alice", fmt.Sprintf("u/u%d", i), "hi")
	}
	seen := map[any]bool{}
	params := `{"limit":7}`
	for range chats {
		answer := w.call("alice", "chat.list", params)
		list, _ := field(t, answer, "chats").([]any)
		for i := range list {
			name := field(t, answer, "chats", i, "chat")
			if seen[name] {
				t.Fatalf("%v comes twice", name)
			}
			seen[name] = true
		}
		next := field(t, answer, "next")
		if next == nil {
			break
		}
		params = fmt.Sprintf(`{"limit":7,"before":%.0f}`, next)
	}
	if len(seen) != chats {
		t.Errorf("%d chats of %d", len(seen), chats)
	}
}

func TestChatListStaysSmall(t *testing.T) {
	w := newWorld(t, nil)
	big := strings.Repeat("x", 100<<10)
	for i := range 6 {
		w.operate("user.add", fmt.Sprintf(`{"users":[{"user":"u%d"}]}`, i))
		w.say("alice", fmt.Sprintf("u/u%d", i), big)
	}
	answer := w.call("alice", "chat.list", `{}`)
	if len(answer) > 320<<10 || field(t, answer, "next") == nil {
		t.Errorf("answer of %d bytes, next %v", len(answer), field(t, answer, "next"))
	}
}

func TestChatUpdateAndReceipts(t *testing.T) {
	w := newWorld(t, nil)
	w.say("alice", "u/bob", "hi")
	w.call("bob", "chat.update", `{"chat":"u/alice","retention":"delivered"}`)
	if list := w.call("alice", "chat.list", `{}`); field(t, list, "chats", 0, "retention") != "delivered" || field(t, list, "chats", 0, "peer", "read") != 0.0 {
		t.Errorf("chat.list: %s", list)
	}
	got := w.call("alice", "chat.receipts", `{"chat":"u/bob","limit":1}`)
	if field(t, got, "members", 0, "user") != "alice" || field(t, got, "next") != "alice" {
		t.Errorf("first page: %s", got)
	}
	got = w.call("alice", "chat.receipts", `{"chat":"u/bob","after":"alice"}`)
	if field(t, got, "members", 0, "user") != "bob" || field(t, got, "next") != nil {
		t.Errorf("second page: %s", got)
	}
}

func TestBlocks(t *testing.T) {
	w := newWorld(t, nil)
	w.call("bob", "block.add", `{"user":"carol"}`)
	w.call("bob", "block.add", `{"user":"alice"}`)
	if got := w.call("bob", "block.list", `{"limit":1}`); got != `{"users":["alice"],"next":"alice"}` {
		t.Errorf("first page: %s", got)
	}
	if got := w.call("bob", "block.list", `{"after":"alice"}`); got != `{"users":["carol"]}` {
		t.Errorf("second page: %s", got)
	}
	if _, err := w.engine.Post(t.Context(), w.as("alice", ""), &delivery.Publish{Topic: []byte("u/bob"), Payload: []byte("hi")}, ""); err == nil {
		t.Error("a blocked user may write")
	}
	w.call("bob", "block.remove", `{"user":"alice"}`)
	w.say("alice", "u/bob", "hi")
	if r := w.refused("bob", "block.add", `{"user":"nobody"}`); r.Code != delivery.CodeNotFound {
		t.Errorf("unknown user: %v", r)
	}
}

func TestUserGetShowsSettingsToOneselfOnly(t *testing.T) {
	w := newWorld(t, nil)
	if got := w.call("alice", "user.get", `{"user":"alice"}`); field(t, got, "settings", "read_receipts") != true {
		t.Errorf("own profile: %s", got)
	}
	if got := w.call("bob", "user.get", `{"user":"alice"}`); field(t, got, "settings") != nil || strings.Contains(got, "hash") {
		t.Errorf("another's profile: %s", got)
	}
}

func TestDevices(t *testing.T) {
	w := newWorld(t, nil)
	w.operate("device.add", `{"devices":[{"user":"alice","device":"phone"},{"user":"alice","device":"tablet"}]}`)
	out, refusal := w.users.Call(t.Context(), w.as("alice", "phone"), "device.list", nil)
	if refusal != nil || field(t, string(out), "devices", 0, "current") != true || field(t, string(out), "devices", 1, "current") != nil {
		t.Errorf("device.list: %s %v", out, refusal)
	}
	w.call("alice", "device.revoke", `{"device":"tablet"}`)
	if r := w.refused("alice", "device.revoke", `{"device":"tablet"}`); r.Code != delivery.CodeNotFound {
		t.Errorf("revoked twice: %v", r)
	}
	w.call("alice", "device.revoke", `{"device":"phone","password":"another"}`)
	us, err := w.store.UsersByName(t.Context(), []string{"alice"})
	if err != nil || us[0].Password != "hash of another" || us[0].SCRAM != "verifier of another" {
		t.Errorf("credentials %q, %v", us[0].Credentials, err)
	}
}

// failing is a store that cannot list blocks.
type failing struct {
	storage.Store
	err *error
}

func (f failing) Blocks(context.Context, chat.UserID) ([]chat.UserID, error) { return nil, *f.err }

func TestTroubleOfTheStore(t *testing.T) {
	var trouble error
	w := newWorld(t, func(s storage.Store) storage.Store { return failing{s, &trouble} })
	who := w.as("alice", "")
	for _, test := range []struct {
		err  error
		code string
	}{
		{fmt.Errorf("read: %w", storage.ErrUnavailable), delivery.CodeUnavailable},
		{fmt.Errorf("read: %w", storage.ErrReadOnly), delivery.CodeUnavailable},
		{context.DeadlineExceeded, delivery.CodeUnavailable},
		{fmt.Errorf("write: %w", storage.ErrFull), delivery.CodeStorageFull},
		{fmt.Errorf("row 17: %w", storage.ErrCorrupt), delivery.CodeInternal},
	} {
		trouble = test.err
		_, r := w.users.Call(t.Context(), who, "block.list", nil)
		if r == nil || r.Code != test.code || !r.Temporary || strings.Contains(r.Message, "row") {
			t.Errorf("%v: %+v, want temporary %s", test.err, r, test.code)
		}
	}
}
