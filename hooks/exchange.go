package hooks

import (
	"context"
	"errors"
	"fmt"
)

// ErrUnknownMethod tells that no plugin knows the authentication method that a
// client has named.
var ErrUnknownMethod = errors.New("unknown authentication method")

// Exchanger establishes who a login is by several messages instead of one
// password: the enhanced authentication of MQTT 5 (4.12). Exchangers are asked in
// order. The first that knows the method makes the exchange, or returns an error
// that ends the login; the others return ErrNotMine.
//
// The login's User may be empty, where only the messages tell it. Where it is not,
// the exchange must end with that user or fail. There is no Password. The login is
// the exchange's to keep. Begin may block; the context carries a deadline.
type Exchanger interface {
	Begin(ctx context.Context, l *Login, method string) (Exchange, error)
}

// Exchange is one run of an authentication method. Its method is called from one
// goroutine at a time. An exchange that the client gives up is dropped without a
// call, so that it must hold nothing that needs to be given back.
type Exchange interface {
	// Next takes the client's next message, nil where the packet had none, which is
	// valid during the call only. It may block; the context carries the deadline of
	// this step. After an error, or a step that is the last, it is not called again.
	Next(ctx context.Context, data []byte) (Step, error)
}

// Step is the server's turn in an exchange.
type Step struct {
	Data  []byte // for the client; nil: nothing
	Done  bool   // the exchange is over, and Grant says who it is
	Grant Grant
}

// Begin asks the exchangers until one makes the exchange. The error is one of the
// outcomes in errors.go, maybe wrapped, or ErrUnknownMethod, and never ErrNotMine;
// so are those of the exchange. A plugin that panics, returns an error of its own
// making or grants to nobody makes the login ErrUnavailable.
func (s *Set) Begin(ctx context.Context, l *Login, method string) (Exchange, error) {
	if s == nil {
		return nil, ErrUnknownMethod
	}
	for _, p := range s.exchangers {
		x, err := begin(ctx, p, l, method)
		switch {
		case errors.Is(err, ErrNotMine):
			continue
		case err != nil:
			return nil, outcome(err)
		}
		return guarded{x, p.guard}, nil
	}
	return nil, ErrUnknownMethod
}

// outcome returns err if it is one of those that end a login, else ErrUnavailable
// for that reason.
func outcome(err error) error {
	switch {
	case errors.Is(err, ErrBadCredentials), errors.Is(err, ErrBusy), errors.Is(err, ErrUnavailable):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// guarded is a plugin's exchange, kept from harming more than its login.
type guarded struct {
	exchange Exchange
	guard    *guard
}

// Next implements Exchange.
func (x guarded) Next(ctx context.Context, data []byte) (Step, error) {
	step, err := x.next(ctx, data)
	if err != nil {
		return Step{}, outcome(err)
	}
	return step, nil
}

func (x guarded) next(ctx context.Context, data []byte) (step Step, err error) {
	defer x.guard.catch(&err)
	step, err = x.exchange.Next(ctx, data)
	if err == nil && step.Done && step.Grant.User == 0 {
		err = errNobody
	}
	return step, err
}

func begin(ctx context.Context, s slot[Exchanger], l *Login, method string) (x Exchange, err error) {
	defer s.guard.catch(&err)
	x, err = s.plugin.Begin(ctx, l, method)
	if err == nil && x == nil {
		err = errNobody
	}
	return x, err
}
