package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"tidings/chat"
)

var errNobody = errors.New("plugin granted a login to no user")

// guard catches and counts the panics of one plugin.
type guard struct {
	name   string // type of the plugin
	log    *slog.Logger
	panics atomic.Uint64
}

// catch is deferred around each call of a plugin. After a panic it sets *err, if
// there is one to set.
func (g *guard) catch(err *error) {
	v := recover()
	if v == nil {
		return
	}
	if err != nil {
		*err = errPanicked
	}
	// A plugin may panic for every packet: the 1st, 2nd, 4th, 8th … is logged. The
	// value may hold what must not be logged, unless the runtime made it.
	n := g.panics.Add(1)
	if n&(n-1) != 0 {
		return
	}
	cause := fmt.Sprintf("a %T", v)
	if re, ok := v.(runtime.Error); ok {
		cause = re.Error()
	}
	g.log.Error("plugin panicked", "plugin", g.name, "count", n, "cause", cause, "stack", string(debug.Stack()))
}

func authenticate(ctx context.Context, s slot[Authenticator], l *Login) (g Grant, err error) {
	defer s.guard.catch(&err)
	g, err = s.plugin.Authenticate(ctx, l)
	if err == nil && g.User == 0 {
		err = errNobody
	}
	return g, err
}

func subscribe(s slot[Subscriber], a *Actor, filter string) (err error) {
	defer s.guard.catch(&err)
	return s.plugin.AuthorizeSubscribe(a, filter)
}

func publish(s slot[Publisher], a *Actor, p *Publish) (err error) {
	defer s.guard.catch(&err)
	return s.plugin.BeforePublish(a, p)
}

func commit(s slot[Committed], messages []*chat.Message) {
	defer s.guard.catch(nil)
	s.plugin.AfterCommit(messages)
}

func deliver(s slot[Delivered], user chat.UserID, device chat.DeviceID, id chat.ID, seq uint64) {
	defer s.guard.catch(nil)
	s.plugin.AfterDelivered(user, device, id, seq)
}

func connect(s slot[Connected], a *Actor) {
	defer s.guard.catch(nil)
	s.plugin.AfterConnect(a)
}

func disconnect(s slot[Disconnected], a *Actor, reason string) {
	defer s.guard.catch(nil)
	s.plugin.AfterDisconnect(a, reason)
}
