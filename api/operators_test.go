package api_test

import (
	"strings"
	"testing"
	"time"

	"tidings/delivery"
)

func TestOperatorsUsers(t *testing.T) {
	w := newWorld(t, nil)
	got := w.operate("user.add", `{"users":[{"user":"dave","name":"Dave"},{"user":"alice"},{"user":"No Name"}]}`)
	if field(t, got, "users", 0, "error") != nil || field(t, got, "users", 1, "error", "code") != delivery.CodeExists || field(t, got, "users", 2, "error", "code") != delivery.CodeMalformed {
		t.Errorf("user.add: %s", got)
	}
	w.operate("user.disable", `{"user":"bob"}`)
	w.operate("user.remove", `{"user":"carol"}`)
	w.operate("user.passwd", `{"user":"alice"}`)
	list := w.operate("user.list", `{}`)
	for i, want := range []string{"active", "disabled", "removed", "active"} {
		if got := field(t, list, "users", i, "state"); got != want {
			t.Errorf("user %d is %v, want %v", i, got, want)
		}
	}
	if field(t, list, "users", 0, "password") != false || strings.Contains(list, "hash") {
		t.Errorf("user.list: %s", list)
	}
	w.operate("user.enable", `{"user":"bob"}`)
	if page := w.operate("user.list", `{"after":"alice","limit":1}`); field(t, page, "users", 0, "state") != "active" || field(t, page, "next") != "bob" {
		t.Errorf("page: %s", page)
	}
	if _, r := w.operators.Call(t.Context(), delivery.Identity{}, "user.disable", []byte(`{"user":"zoe"}`)); r == nil || r.Code != delivery.CodeNotFound {
		t.Errorf("unknown user: %v", r)
	}
}

func TestOperatorsDevices(t *testing.T) {
	w := newWorld(t, nil)
	got := w.operate("device.add", `{"devices":[{"user":"alice","device":"phone"},{"user":"zoe","device":"phone"}]}`)
	if field(t, got, "devices", 0, "token") != "token" || field(t, got, "devices", 1, "token") != nil || field(t, got, "devices", 1, "error", "code") != delivery.CodeNotFound {
		t.Errorf("device.add: %s", got)
	}
	if list := w.operate("device.list", `{"user":"alice"}`); field(t, list, "devices", 0, "device") != "phone" || strings.Contains(list, "token") {
		t.Errorf("device.list: %s", list)
	}
	w.operate("device.revoke", `{"user":"alice","device":"phone"}`)
	if list := w.operate("device.list", `{"user":"alice"}`); list != `{"devices":[]}` {
		t.Errorf("after revoke: %s", list)
	}
}

func TestOperatorsBatchIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	users := `{"users":[` + strings.TrimSuffix(strings.Repeat(`{"user":"x"},`, 10_001), ",") + `]}`
	if _, r := w.operators.Call(t.Context(), delivery.Identity{}, "user.add", []byte(users)); r == nil || r.Code != delivery.CodeQuota {
		t.Errorf("10,001 users: %v", r)
	}
}

func TestOperatorsGroups(t *testing.T) {
	w := newWorld(t, nil)
	w.call("alice", "group.create", `{"group":"team","members":["bob"]}`)
	w.call("alice", "group.create", `{"group":"able"}`)
	if list := w.operate("group.list", `{"limit":1}`); field(t, list, "groups", 0, "group") != "able" || field(t, list, "next") != "able" {
		t.Errorf("group.list: %s", list)
	}
	if g := w.operate("group.show", `{"group":"team"}`); field(t, g, "count") != 2.0 || field(t, g, "role") != nil {
		t.Errorf("group.show: %s", g)
	}
}

func TestOperatorsSweepRemovesExpiredBodies(t *testing.T) {
	w := newWorld(t, nil)
	w.call("alice", "group.create", `{"group":"team"}`)
	w.say("alice", "u/bob", `{"body":"gone","ttl":1}`)
	w.say("alice", "u/bob", "stays")
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(w.call("bob", "history", `{"chat":"u/alice"}`), `"stub":true`) { // until the ttl has ended
		if time.Now().After(deadline) {
			t.Fatal("the body is still there")
		}
		w.operate("retention.sweep", ``)
	}
	w.operate("store.compact", ``)
	if h := w.call("bob", "history", `{"chat":"u/alice"}`); strings.Contains(h, "gone") || !strings.Contains(h, "stays") {
		t.Errorf("history: %s", h)
	}
}
