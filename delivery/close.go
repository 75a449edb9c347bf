package delivery

import (
	"context"
	"time"
)

// CloseHow tells Close how the connection ended.
type CloseHow struct {
	Orderly bool          // the client sent DISCONNECT: its publishes are settled
	Reason  string        // stable word for plugins and metrics: "client", "keepalive", "taken_over", "error", "shutdown" …
	Forget  bool          // the MQTT session ends with the connection: subscriptions and packet state are dropped (never undelivered messages)
	KeepFor time.Duration // how long the MQTT session is kept if not forgotten; zero: for ever
	LastIn  int64         // Unix milliseconds of the last packet received
}

// Leave tells that the client has sent DISCONNECT: what is answered from now on it
// cannot know of. The carrier calls it when it reads the packet; it never blocks.
func (s *Session) Leave() { s.leaving.Store(true) }

// drainWait bounds how long Close waits for the answers of publishes under way.
const drainWait = 5 * time.Second

// Close ends the session: it waits until the answers of its publishes are known,
// writes cursors and packet state, and leaves the directory. The carrier calls it
// once for each Open, off its read loops, also when the engine has asked for the
// end. It may block; a second call waits for the first.
func (s *Session) Close(ctx context.Context, how CloseHow) {
	s.end.Do(func() {
		defer close(s.closed)
		s.finish(context.WithoutCancel(ctx), how)
	})
}

func (s *Session) finish(ctx context.Context, how CloseHow) {
	unclean := !s.waitDrained()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.over.Store(true)
	if !s.id.Guest {
		<-s.e.flusher.flush()
		if err := s.keepAtEnd(ctx, how, unclean); err != nil {
			s.e.log.Error("cannot keep the state of a session", "err", err, "device", uint64(s.device()))
		}
	}
	s.e.open.leave(ctx, s, how)
	last := s.e.directory.leave(s)
	s.e.presence.unwatch(s)
	if last {
		s.e.presence.left(s.user())
	}
	s.e.plugins.AfterDisconnect(&s.id.Actor, how.Reason)
}

// waitDrained waits until every publish of the session has been answered or
// dropped; false if that takes too long.
func (s *Session) waitDrained() bool {
	s.closing.Store(true)
	if s.pending.Load() == 0 {
		return true
	}
	wait := time.NewTimer(drainWait)
	defer wait.Stop()
	select {
	case <-s.drained:
		return true
	case <-wait.C:
		return false
	}
}

func (s *Session) keepAtEnd(ctx context.Context, how CloseHow, unclean bool) error {
	now := time.Now()
	s.mu.Lock()
	st := s.snapshotLocked(!how.Forget && !s.temporary)
	s.mu.Unlock()
	if how.KeepFor > 0 {
		st.Until, st.Keep = now.Add(how.KeepFor).UnixMilli(), how.KeepFor.Milliseconds()
	}
	if unclean { // the router may still write to them
		st.Sent = s.kept
	} else {
		st.Sent = s.unsettled(how.Orderly, how.LastIn, now.UnixMilli())
	}
	if unclean || s.poisoned || s.crashed && !how.Orderly && how.LastIn < s.opened+settleAfter.Milliseconds() {
		st.Unclean, st.Epoch = true, s.closedAt // only the log knows
	}
	return s.keep(ctx, st, true, false)
}
