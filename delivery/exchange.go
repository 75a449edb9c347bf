package delivery

import (
	"context"

	"tidings/hooks"
)

// Exchange is a login, or its renewal, by several messages. Its method is called
// from one goroutine at a time. One that the client gives up is dropped.
type Exchange struct {
	e        *Engine
	exchange hooks.Exchange
	login    hooks.Login
	revision uint64
	as       *Identity
}

// Begin asks the plugins for an exchange by an authentication method. The user name
// of the login may be empty. as is nil for a login; else the exchange proves anew
// that the client is who it is already, and refuses everybody else. It may block.
// Errors are those of Login and hooks.ErrUnknownMethod.
func (e *Engine) Begin(ctx context.Context, l *hooks.Login, method string, as *Identity) (*Exchange, error) {
	x := &Exchange{e: e, login: *l, revision: e.directory.revocations(), as: as}
	var err error
	x.exchange, err = e.plugins.Begin(ctx, &x.login, method)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// Next takes the client's next message, nil if it sent none, and returns the
// server's. id is nil while the exchange goes on, and who it is at the end: a
// renewal has made no device. It may block. Errors are those of Login.
func (x *Exchange) Next(ctx context.Context, data []byte) (answer []byte, id *Identity, err error) {
	step, err := x.exchange.Next(ctx, data)
	if err != nil || !step.Done {
		return step.Data, nil, err
	}
	if x.as != nil {
		if step.Grant.User != x.as.Actor.User {
			return nil, nil, hooks.ErrBadCredentials
		}
		return step.Data, x.as, nil
	}
	now, err := x.e.admit(ctx, &x.login, step.Grant, x.revision)
	if err != nil {
		return nil, nil, err
	}
	return step.Data, &now, nil
}
