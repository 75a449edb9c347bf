package hooks_test

import (
	"context"
	"errors"
	"testing"

	"tidings/hooks"
)

// script is an exchanger of one method whose exchanges give its answers in turn.
type script struct {
	method string
	refuse error
	answer []any // hooks.Step, error, or anything else to panic with
}

func (s script) Begin(_ context.Context, _ *hooks.Login, method string) (hooks.Exchange, error) {
	if method != s.method {
		return nil, hooks.ErrNotMine
	}
	return &reading{answer: s.answer}, s.refuse
}

type reading struct {
	answer []any
	heard  []string
}

func (r *reading) Next(_ context.Context, data []byte) (hooks.Step, error) {
	r.heard = append(r.heard, string(data))
	a := r.answer[0]
	r.answer = r.answer[1:]
	switch a := a.(type) {
	case hooks.Step:
		return a, nil
	case error:
		return hooks.Step{}, a
	}
	panic(a)
}

// mute makes no exchange and no error.
type mute struct{}

func (mute) Begin(context.Context, *hooks.Login, string) (hooks.Exchange, error) { return nil, nil }

func TestBeginAsksInOrder(t *testing.T) {
	own := errors.New("its own error")
	for _, tc := range []struct {
		name    string
		plugins []any
		method  string
		err     error
	}{
		{"first", []any{script{method: "A"}, script{method: "B"}}, "A", nil},
		{"second", []any{script{method: "A"}, script{method: "B"}}, "B", nil},
		{"nobody's", []any{script{method: "A"}}, "a", hooks.ErrUnknownMethod},
		{"no exchanger", []any{fixed{}}, "A", hooks.ErrUnknownMethod},
		{"busy", []any{script{method: "A", refuse: hooks.ErrBusy}, script{method: "A"}}, "A", hooks.ErrBusy},
		{"its own error", []any{script{method: "A", refuse: own}}, "A", hooks.ErrUnavailable},
		{"panic", []any{bomb{"x"}}, "A", hooks.ErrUnavailable},
		{"neither exchange nor error", []any{mute{}}, "A", hooks.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x, err := newSet(t, tc.plugins...).Begin(t.Context(), &hooks.Login{}, tc.method)
			if !errors.Is(err, tc.err) || (err == nil) != (x != nil) || errors.Is(err, hooks.ErrNotMine) {
				t.Errorf("Begin = %v, %v; want %v", x, err, tc.err)
			}
		})
	}
	var none *hooks.Set
	if _, err := none.Begin(t.Context(), &hooks.Login{}, "A"); !errors.Is(err, hooks.ErrUnknownMethod) {
		t.Errorf("a nil Set: %v", err)
	}
}

func TestExchangeIsGuarded(t *testing.T) {
	done := hooks.Step{Done: true, Grant: hooks.Grant{User: 7}}
	for _, tc := range []struct {
		name   string
		answer any
		err    error
	}{
		{"grant", done, nil},
		{"more", hooks.Step{Data: []byte("?")}, nil},
		{"refusal", hooks.ErrBadCredentials, hooks.ErrBadCredentials},
		{"its own error", errors.New("its own"), hooks.ErrUnavailable},
		{"nobody", hooks.Step{Done: true}, hooks.ErrUnavailable},
		{"panic", "bang", hooks.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set := newSet(t, script{method: "A", answer: []any{tc.answer}})
			x, err := set.Begin(t.Context(), &hooks.Login{}, "A")
			if err != nil {
				t.Fatal(err)
			}
			step, err := x.Next(t.Context(), []byte("hello"))
			if !errors.Is(err, tc.err) {
				t.Errorf("Next = %+v, %v; want %v", step, err, tc.err)
			}
			if err != nil && (step.Done || step.Grant != hooks.Grant{}) {
				t.Errorf("an error came with %+v", step)
			}
		})
	}
}
