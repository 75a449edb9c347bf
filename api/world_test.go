package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"tidings/api"
	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/storage"
	"tidings/storage/pebble"
)

var errWeak = errors.New("password cannot be used")

// world is an engine over a store of its own, with both tables.
type world struct {
	t         *testing.T
	store     storage.Store
	engine    *delivery.Engine
	users     *api.Table
	operators *api.Table
}

// newWorld makes a world with the users alice, bob and carol. wrap, if not nil,
// stands between engine and store.
func newWorld(t *testing.T, wrap func(storage.Store) storage.Store) *world {
	t.Helper()
	store, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: store}
	seen := storage.Store(store)
	if wrap != nil {
		seen = wrap(store)
	}
	if w.engine, err = delivery.New(delivery.Config{Store: seen}); err != nil {
		t.Fatal(err)
	}
	w.engine.Start()
	t.Cleanup(func() {
		if err := errors.Join(w.engine.Shutdown(context.WithoutCancel(t.Context())), store.Close()); err != nil {
			t.Error(err)
		}
	})
	cfg := api.Config{
		Engine: w.engine, BadPassword: errWeak,
		Hash: func(_ context.Context, password []byte) (chat.Credentials, error) {
			if len(password) < 4 {
				return chat.Credentials{}, errWeak
			}
			return chat.Credentials{Password: "hash of " + string(password), SCRAM: "verifier of " + string(password)}, nil
		},
		NewToken: func() (string, []byte) { return "token", []byte("hash of token") },
		Compact:  store.Compact,
	}
	w.users, w.operators = api.Users(cfg), api.Operators(cfg)
	w.operate("user.add", `{"users":[{"user":"alice","password":"secret"},{"user":"bob"},{"user":"carol"}]}`)
	return w
}

// as is the identity of a user, with a device if one is named and exists.
func (w *world) as(user, device string) delivery.Identity {
	w.t.Helper()
	id, err := w.engine.UserID(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	a := hooks.Actor{User: id, UserName: user, DeviceName: device}
	if device != "" {
		d, err := w.store.DeviceByName(w.t.Context(), id, device)
		if err != nil {
			w.t.Fatal(err)
		}
		a.Device = d.ID
	}
	return delivery.Identity{Actor: a}
}

// call runs an operation that has to succeed.
func (w *world) call(user, operation, params string) string {
	w.t.Helper()
	out, refusal := w.users.Call(w.t.Context(), w.as(user, ""), operation, []byte(params))
	if refusal != nil {
		w.t.Fatalf("%s %s: %v", operation, params, refusal)
	}
	return w.object(out)
}

func (w *world) operate(operation, params string) string {
	w.t.Helper()
	out, refusal := w.operators.Call(w.t.Context(), delivery.Identity{}, operation, []byte(params))
	if refusal != nil {
		w.t.Fatalf("%s %s: %v", operation, params, refusal)
	}
	return w.object(out)
}

// object checks that an answer is one strict JSON object.
func (w *world) object(out []byte) string {
	w.t.Helper()
	if err := chat.CheckJSON(out, chat.MaxJSONDepth+3); err != nil || !strings.HasPrefix(string(out), "{") {
		w.t.Fatalf("answer %s: %v", out, err)
	}
	return string(out)
}

// refused runs an operation that has to be refused and returns why.
func (w *world) refused(user, operation, params string) *delivery.Refusal {
	w.t.Helper()
	out, refusal := w.users.Call(w.t.Context(), w.as(user, ""), operation, []byte(params))
	if refusal == nil {
		w.t.Fatalf("%s %s succeeded: %s", operation, params, out)
	}
	return refusal
}

// say posts a message.
func (w *world) say(user, topic, payload string) {
	w.t.Helper()
	if _, err := w.engine.Post(w.t.Context(), w.as(user, ""), &delivery.Publish{Topic: []byte(topic), Payload: []byte(payload)}, ""); err != nil {
		w.t.Fatal(err)
	}
}

// field reads one value of an answer by its path.
func field(t *testing.T, answer string, path ...any) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatal(err)
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				t.Fatalf("%s has no %v", answer, path)
			}
			v = l[p]
		}
	}
	return v
}
