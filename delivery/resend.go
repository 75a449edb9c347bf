package delivery

import (
	"context"

	"tidings/chat"
	"tidings/storage"
)

// resend sends again, with DUP and the same tags, what an earlier connection has
// sent and the device has not acknowledged [MQTT-4.4.0-1]. done is false while
// some of it has no room.
func (w *puller) resend(ctx context.Context, s *Session, win *window) (done bool, err error) {
	for {
		s.mu.Lock()
		for win.again >= 0 && win.again < win.len() && win.at(win.again).done {
			win.again++
		}
		if s.ended || win.again < 0 || win.again >= win.len() {
			win.again = -1
			s.mu.Unlock()
			return true, nil
		}
		sl := *win.at(win.again)
		tag := win.tagAt(win.again)
		room := s.out < s.limit && !s.full
		s.mu.Unlock()
		if !room {
			return false, nil
		}
		if sl.p.id.Kind() == chat.KindQueue {
			sent, err := w.resendOpen(ctx, s, tag, sl)
			s.link.Flush()
			if err != nil || !sent {
				return false, err
			}
			continue
		}
		j := job{p: sl.p}
		if err := w.describe(ctx, s, &j); err != nil {
			return false, err
		}
		msgs, err := w.fetch(ctx, s, &j, storage.Range{Chat: sl.p.id, From: sl.seq, To: sl.seq, Limit: 1})
		if err != nil {
			return false, err
		}
		visible := len(msgs) == 1 && !msgs[0].Stub && !expired(&msgs[0])
		if visible {
			w.dress(&j, &msgs[0], j.senders[0])
		}
		if !w.again(s, tag, sl, visible) {
			s.link.Flush()
			return false, nil
		}
		s.link.Flush()
	}
}

// again sends one delivery of the window again, or passes over it if the device
// may not see it any more.
func (w *puller) again(s *Session, tag uint16, sl slot, visible bool) (sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	win := &s.window
	if s.ended || win.again >= win.len() || win.tagAt(win.again) != tag {
		return false
	}
	if !visible {
		at := win.at(win.again)
		at.done, at.mute = true, true
		win.again++
		s.popDoneLocked(win)
		return true
	}
	// Also if nothing selects the chat any more: what was begun is completed
	// [MQTT-3.10.4-3].
	d := w.live.d
	*d = Delivery{
		Topic: append(d.Topic[:0], w.live.topic...), ReplyTo: append(d.ReplyTo[:0], w.live.reply...),
		Payload: w.live.payload, QoS: 1, Tag: tag, Dup: true, Expiry: secondsLeft(w.live.msg), Ordinary: true,
	}
	if want := s.wantLocked(sl.p.id, w.live.group); want != nil {
		d.Filters = want.IDs
	}
	r, cut := s.deliverLocked(&w.live)
	switch r {
	case Delivered, TooLarge:
		at := win.at(win.again)
		at.mute = at.mute || cut
		win.again++
		if r == TooLarge {
			at.done, at.mute = true, true
			s.popDoneLocked(win)
			return true
		}
		s.out++
		return true
	case NoRoom, Closed:
		s.full = true
	}
	return false
}
