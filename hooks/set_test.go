package hooks_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/chat"
	"tidings/hooks"
)

// fixed is an authenticator that always gives the same answer.
type fixed struct {
	grant hooks.Grant
	err   error
}

func (f fixed) Authenticate(context.Context, *hooks.Login) (hooks.Grant, error) {
	return f.grant, f.err
}

// bomb implements every interface and always panics with its value.
type bomb struct{ value any }

func (b bomb) Authenticate(context.Context, *hooks.Login) (hooks.Grant, error) { panic(b.value) }
func (b bomb) Begin(context.Context, *hooks.Login, string) (hooks.Exchange, error) {
	panic(b.value)
}
func (b bomb) AuthorizeSubscribe(*hooks.Actor, string) error              { panic(b.value) }
func (b bomb) BeforePublish(*hooks.Actor, *hooks.Publish) error           { panic(b.value) }
func (b bomb) AfterCommit([]*chat.Message)                                { panic(b.value) }
func (b bomb) AfterDelivered(chat.UserID, chat.DeviceID, chat.ID, uint64) { panic(b.value) }
func (b bomb) AfterConnect(*hooks.Actor)                                  { panic(b.value) }
func (b bomb) AfterDisconnect(*hooks.Actor, string)                       { panic(b.value) }

// diary notes what it is asked and told, and refuses as it is made to.
type diary struct {
	name   string
	notes  *[]string
	refuse error
}

func (d diary) note(what string) { *d.notes = append(*d.notes, d.name+" "+what) }

func (d diary) AuthorizeSubscribe(*hooks.Actor, string) error {
	d.note("subscribe")
	return d.refuse
}

func (d diary) BeforePublish(*hooks.Actor, *hooks.Publish) error {
	d.note("publish")
	return d.refuse
}
func (d diary) AfterCommit([]*chat.Message)                                { d.note("commit") }
func (d diary) AfterDelivered(chat.UserID, chat.DeviceID, chat.ID, uint64) { d.note("delivered") }
func (d diary) AfterConnect(*hooks.Actor)                                  { d.note("connect") }
func (d diary) AfterDisconnect(_ *hooks.Actor, reason string)              { d.note("disconnect " + reason) }

func newSet(t *testing.T, plugins ...any) *hooks.Set {
	t.Helper()
	s, err := hooks.NewSet(slog.New(slog.NewTextHandler(t.Output(), nil)), plugins...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAuthenticateAsksInOrder(t *testing.T) {
	alice := hooks.Grant{User: 1, Device: "phone"}
	bob := hooks.Grant{User: 2, Device: "phone"}
	own := errors.New("its own error")
	for _, tc := range []struct {
		name    string
		plugins []any
		want    hooks.Grant
		err     error
	}{
		{"nobody to ask", nil, hooks.Grant{}, hooks.ErrBadCredentials},
		{"the first decides", []any{fixed{grant: alice}, fixed{grant: bob}}, alice, nil},
		{"no opinion asks the next", []any{fixed{err: hooks.ErrNotMine}, fixed{grant: bob}}, bob, nil},
		{"no opinion at all", []any{fixed{err: hooks.ErrNotMine}}, hooks.Grant{}, hooks.ErrBadCredentials},
		{"a refusal ends it", []any{fixed{err: hooks.ErrBadCredentials}, fixed{grant: bob}}, hooks.Grant{}, hooks.ErrBadCredentials},
		{"busy ends it", []any{fixed{err: hooks.ErrBusy}, fixed{grant: bob}}, hooks.Grant{}, hooks.ErrBusy},
		{"an error of its own", []any{fixed{err: own}, fixed{grant: bob}}, hooks.Grant{}, hooks.ErrUnavailable},
		{"a grant to nobody", []any{fixed{}, fixed{grant: bob}}, hooks.Grant{}, hooks.ErrUnavailable},
		{"a panic", []any{bomb{"boom"}, fixed{grant: bob}}, hooks.Grant{}, hooks.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := newSet(t, tc.plugins...).Authenticate(t.Context(), &hooks.Login{User: "alice"})
			if !errors.Is(err, tc.err) || got != tc.want {
				t.Errorf("Authenticate = %+v, %v; want %+v, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestSetKeepsTheOrder(t *testing.T) {
	var notes []string
	refusal := &hooks.Refusal{Code: "quota_exceeded", Message: "Slow down."}
	s := newSet(t, diary{name: "a", notes: &notes}, diary{name: "b", notes: &notes, refuse: refusal}, diary{name: "c", notes: &notes})

	for _, err := range []error{s.AuthorizeSubscribe(&hooks.Actor{}, "u/bob"), s.BeforePublish(&hooks.Actor{}, &hooks.Publish{})} {
		if !errors.Is(err, refusal) {
			t.Errorf("refusal = %v, want %v", err, refusal)
		}
	}
	s.AfterCommit(nil)
	s.AfterDelivered(1, 2, chat.ID{}, 3)
	s.AfterConnect(&hooks.Actor{})
	s.AfterDisconnect(&hooks.Actor{}, "client")

	want := []string{
		"a subscribe", "b subscribe", "a publish", "b publish", "a commit", "b commit", "c commit",
		"a delivered", "b delivered", "c delivered", "a connect", "b connect", "c connect",
		"a disconnect client", "b disconnect client", "c disconnect client",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestPanicsAreCaughtAndCounted(t *testing.T) {
	var notes []string
	var log bytes.Buffer
	s, err := hooks.NewSet(slog.New(slog.NewTextHandler(&log, nil)), bomb{"the password"}, diary{name: "a", notes: &notes})
	if err != nil {
		t.Fatal(err)
	}
	a := &hooks.Actor{}
	if err := s.AuthorizeSubscribe(a, "u/bob"); err == nil {
		t.Error("a panic did not refuse the subscription")
	}
	if err := s.BeforePublish(a, &hooks.Publish{}); err == nil {
		t.Error("a panic did not refuse the publish")
	}
	s.AfterCommit(nil)
	s.AfterDelivered(1, 2, chat.ID{}, 3)
	s.AfterConnect(a)
	s.AfterDisconnect(a, "client")

	if want := []string{"a commit", "a delivered", "a connect", "a disconnect client"}; !cmp.Equal(want, notes) {
		t.Errorf("the plugin behind was told %q, want %q", notes, want)
	}
	if got := s.Panics()["hooks_test.bomb"]; got != 6 {
		t.Errorf("Panics = %d, want 6", got)
	}
	if strings.Contains(log.String(), "the password") {
		t.Error("the value of a panic was logged")
	}
	if got := strings.Count(log.String(), "plugin panicked"); got != 3 {
		t.Errorf("%d of 6 panics logged, want the 1st, 2nd and 4th", got)
	}
}

func TestNewSetRefusesWhatIsNoPlugin(t *testing.T) {
	if _, err := hooks.NewSet(slog.Default(), fixed{}, 42); err == nil || !strings.Contains(err.Error(), "int") {
		t.Errorf("NewSet = %v, want an error that names the type", err)
	}
}

func TestNilSet(t *testing.T) {
	var s *hooks.Set
	a := &hooks.Actor{}
	if _, err := s.Authenticate(t.Context(), &hooks.Login{}); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("Authenticate = %v", err)
	}
	if err := errors.Join(s.AuthorizeSubscribe(a, "x"), s.BeforePublish(a, &hooks.Publish{})); err != nil {
		t.Error(err)
	}
	s.AfterCommit(nil)
	s.AfterDelivered(1, 2, chat.ID{}, 3)
	s.AfterConnect(a)
	s.AfterDisconnect(a, "client")
	if s.HasPublisher() || s.HasCommitted() || s.HasDelivered() || len(s.Panics()) != 0 {
		t.Error("a nil set has something")
	}
}

type pass struct{}

func (pass) BeforePublish(*hooks.Actor, *hooks.Publish) error { return nil }

func TestBeforePublishDoesNotAllocate(t *testing.T) {
	for name, s := range map[string]*hooks.Set{"none": newSet(t), "some": newSet(t, pass{}, pass{})} {
		a, p := &hooks.Actor{}, &hooks.Publish{}
		if n := testing.AllocsPerRun(100, func() { _ = s.BeforePublish(a, p) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkBeforePublish(b *testing.B) {
	a, p := &hooks.Actor{}, &hooks.Publish{}
	for name, plugins := range map[string][]any{"none": nil, "one": {pass{}}} {
		s, err := hooks.NewSet(slog.Default(), plugins...)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = s.BeforePublish(a, p)
			}
		})
	}
}
