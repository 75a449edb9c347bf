package delivery_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tidings/delivery"
	"tidings/hooks"
)

// teller is an exchanger that believes who a client says it is, in its second
// message.
type teller struct{ believer }

func (tl teller) Begin(_ context.Context, l *hooks.Login, method string) (hooks.Exchange, error) {
	if method != "TELL" {
		return nil, hooks.ErrNotMine
	}
	return &telling{teller: tl, login: *l}, nil
}

type telling struct {
	teller
	login hooks.Login
	asked bool
}

func (x *telling) Next(ctx context.Context, data []byte) (hooks.Step, error) {
	if !x.asked {
		x.asked = true
		return hooks.Step{Data: []byte("who?")}, nil
	}
	x.login.User = string(data)
	g, err := x.Authenticate(ctx, &x.login)
	return hooks.Step{Data: []byte("welcome"), Done: true, Grant: g}, err
}

// tell runs an exchange of a teller.
func (w *world) tell(client, user string, as *delivery.Identity) (*delivery.Identity, error) {
	w.t.Helper()
	x, err := w.e.Begin(w.t.Context(), &hooks.Login{Client: client}, "TELL", as)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, id, err := x.Next(w.t.Context(), nil)
	if err != nil || id != nil || string(answer) != "who?" {
		w.t.Fatalf("first step: %q, %v, %v", answer, id, err)
	}
	answer, id, err = x.Next(w.t.Context(), []byte(user))
	if (err == nil) != (string(answer) == "welcome") || (err == nil) != (id != nil) {
		w.t.Fatalf("second step: %q, %v, %v", answer, id, err)
	}
	return id, err
}

func tellers(t *testing.T, users ...string) *world {
	t.Helper()
	w := newWorld(t, users...)
	w.plugins = []any{teller{believer{w}}}
	w.restart()
	return w
}

func TestExchangeEndsInTheIdentityOfALogin(t *testing.T) {
	w := tellers(t, "alice")
	ignore := cmpopts.IgnoreUnexported(delivery.Identity{})
	for _, client := range []string{"phone", ""} {
		told, err := w.tell(client, "alice", nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := w.e.Login(t.Context(), &hooks.Login{User: "alice", Client: client, Password: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, *told, ignore, cmpopts.EquateComparable(want.Actor.Remote)); diff != "" {
			t.Errorf("client %q: (-login +exchange):\n%s", client, diff)
		}
		if (told.Actor.Device == 0) != (client == "") {
			t.Errorf("client %q has device %d", client, told.Actor.Device)
		}
	}
	if _, err := w.e.Begin(t.Context(), &hooks.Login{}, "OTHER", nil); !errors.Is(err, hooks.ErrUnknownMethod) {
		t.Errorf("unknown method: %v", err)
	}
	if _, err := w.tell("phone", "nobody", nil); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("unknown user: %v", err)
	}
	if err := w.e.SetDisabled(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.tell("phone", "alice", nil); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("disabled user: %v", err)
	}
}

func TestExchangeOutrunByARevocation(t *testing.T) {
	w := tellers(t, "alice")
	w.online("alice", "phone").close(true)
	x, err := w.e.Begin(t.Context(), &hooks.Login{Client: "phone"}, "TELL", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Next(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	_, id, err := x.Next(t.Context(), []byte("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.e.RevokeDevice(t.Context(), w.ids["alice"], "phone"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.e.Open(t.Context(), *id, delivery.OpenOptions{Link: &device{}}); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("Open for a device that was revoked meanwhile: %v", err)
	}
}

func TestRenewalIsForTheSameUser(t *testing.T) {
	w := tellers(t, "alice", "bob")
	id, err := w.tell("phone", "alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.tell("phone", "alice", id); err != nil || again != id {
		t.Errorf("the same user again: %v, %v", again, err)
	}
	if _, err := w.tell("phone", "bob", id); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("another user: %v", err)
	}
	if ds, err := w.e.DevicesOf(t.Context(), w.ids["bob"]); err != nil || len(ds) > 0 {
		t.Errorf("the renewal made devices: %v, %v", ds, err)
	}
}
