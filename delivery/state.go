package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/chat"
	"tidings/storage"
	"tidings/topics"
)

// state is what is kept of a session while its device is away, stored with the
// device as JSON. It is written at SUBSCRIBE for persistent sessions and when a
// session ends.
type state struct {
	Version    int             `json:"v"`
	Epoch      uint32          `json:"e"`           // last session of which Sent has every unsettled publish
	Unclean    bool            `json:"u,omitempty"` // later sessions may have more: they are looked for in the log
	Persistent bool            `json:"p,omitempty"` // an MQTT session to be taken up again
	Began      uint32          `json:"b,omitempty"` // the epoch of the connection that began it
	Until      int64           `json:"x,omitempty"` // when that session expires, Unix milliseconds; zero: never
	Keep       int64           `json:"k,omitempty"` // how long it is kept after its end, in milliseconds; zero: for ever
	Again      bool            `json:"a,omitempty"` // what an earlier, crashed session has sent is not all fed again yet
	Subs       []Subscription  `json:"s,omitempty"`
	First      uint32          `json:"t,omitempty"` // number of the window's first slot
	Window     []stateSlot     `json:"w,omitempty"`
	Sent       []sentRow       `json:"d,omitempty"` // unsettled publishes
	Held       []sentRow       `json:"h,omitempty"` // QoS 2 publishes that wait for PUBREL
	Received   []uint64        `json:"r,omitempty"` // entries of the queue that the device has, of those that are to be sent again
	Carrier    json.RawMessage `json:"c,omitempty"`
}

type stateSlot struct {
	Chat chat.ID `json:"c"`
	Seq  uint64  `json:"s"`
	Done bool    `json:"d,omitempty"`
	Mute bool    `json:"m,omitempty"`
	Step step    `json:"q,omitempty"`
}

const stateVersion = 1

func decodeState(b []byte) (state, error) {
	var st state
	if len(b) == 0 {
		return st, nil
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("%w: session state: %w", storage.ErrCorrupt, err)
	}
	if st.Version != stateVersion {
		return st, fmt.Errorf("%w: session state of version %d", storage.ErrFormat, st.Version)
	}
	if err := st.check(); err != nil {
		return st, fmt.Errorf("%w: session state: %w", storage.ErrCorrupt, err)
	}
	return st, nil
}

// check looks at what would move a cursor past undelivered entries if it were
// wrong.
func (st *state) check() error {
	if len(st.Window) > 2*maxWindow || st.First >= tags {
		return fmt.Errorf("a window of %d deliveries from %d", len(st.Window), st.First)
	}
	last := make(map[chat.ID]uint64)
	for _, sl := range st.Window {
		if sl.Step > awaitsPubcomp || sl.Step != awaitsPuback && sl.Chat.Kind() != chat.KindQueue {
			return fmt.Errorf("entry %d of chat %v waits for acknowledgement %d", sl.Seq, sl.Chat, sl.Step)
		}
		if sl.Chat.Kind() == chat.KindNone || sl.Seq <= last[sl.Chat] {
			return fmt.Errorf("entry %d of chat %v is behind %d in the window", sl.Seq, sl.Chat, last[sl.Chat])
		}
		last[sl.Chat] = sl.Seq
	}
	return nil
}

// restore begins a new epoch of the device and takes up what was kept.
func (s *Session) restore(ctx context.Context, clean bool) (OpenInfo, error) {
	now := time.Now().UnixMilli()
	d, raw, openBefore, err := s.e.store.OpenSession(ctx, s.device(), s.e.cfg.Node, now)
	if err != nil {
		return OpenInfo{}, err
	}
	st, err := decodeState(raw)
	if err != nil { // costs this session its packet state, not the inbox
		s.e.log.Error("cannot read the kept state of a session", "err", err, "device", uint64(d.ID))
		st = state{}
	}
	s.epoch, s.inbox, s.opened = d.Epoch, d.Inbox, now
	s.closedAt = st.Epoch
	s.crashed = openBefore != "" || st.Unclean
	s.began = s.epoch
	s.earlier, s.kept = st.Sent, st.Sent
	s.carrier = st.Carrier
	s.window.first = s.epoch * 8191 % tags
	info := OpenInfo{Epoch: d.Epoch, Carrier: st.Carrier}
	until := st.until(openBefore != "", s.e.began)
	expired := until != 0 && until <= now
	// Where the window was lost, what was outstanding may have been sent before.
	s.aftercrash = !clean && (openBefore != "" || st.Again)
	if !st.Persistent || clean || expired {
		return info, s.beginAnew(ctx, st.Persistent)
	}
	info.Present, s.stored = true, true
	s.began = st.Began
	s.held = make(map[uint16]sentRow, len(st.Held))
	s.keptHeld = st.Held
	for _, r := range st.Held {
		r.kept = true
		s.held[r.PacketID] = r
		s.steps.inherit(r)
	}
	for _, seq := range st.Received {
		s.noteReceived(seq)
	}
	s.restoreSubscriptions(st.Subs)
	if openBefore == "" {
		s.restoreWindow(&st)
		return info, nil
	}
	return info, s.readSteps(ctx)
}

// beginAnew begins an MQTT session that is none taken up again, whatever becomes of
// this connection; earlier tells that there was one, which ends for good. One that
// lasts is kept from its CONNACK on, also if it never subscribes: a publisher has
// QoS 2 exchanges to go on with after a crash.
func (s *Session) beginAnew(ctx context.Context, earlier bool) error {
	if earlier {
		if err := s.e.open.drop(ctx, &s.id); err != nil {
			return err
		}
	}
	if s.temporary && !earlier {
		return nil
	}
	s.mu.Lock()
	st := s.snapshotLocked(!s.temporary)
	s.mu.Unlock()
	return s.keep(ctx, st, false, !s.temporary)
}

// until returns when a kept session expires, in Unix milliseconds; zero: never. One
// that was open when the server died has ended with it, and nobody knows when that
// was: its time runs from the start of this server.
func (st *state) until(crashed bool, began time.Time) int64 {
	switch {
	case !crashed:
		return st.Until
	case st.Keep == 0:
		return 0
	}
	return began.UnixMilli() + st.Keep
}

func (s *Session) restoreSubscriptions(subs []Subscription) {
	parsed := make([]topics.Filter, 0, len(subs))
	for _, sub := range subs {
		if s.e.open.selects(&s.id, sub.Filter) {
			s.subs, parsed = append(s.subs, sub), append(parsed, topics.Filter{})
			continue
		}
		f, err := topics.ParseFilter(sub.Filter, s.id.Actor.UserName)
		if err != nil { // the grammar has changed since
			continue
		}
		s.subs, parsed = append(s.subs, sub), append(parsed, f)
	}
	if len(s.subs) > 0 {
		s.scope = newScope(s.subs, parsed)
		s.loading, s.load = true, true
	}
}

// restoreWindow takes up what an earlier connection has sent and not seen
// acknowledged. The cursors, from which the rest is fed, are at or before it.
func (s *Session) restoreWindow(st *state) {
	if len(st.Window) == 0 {
		return
	}
	s.window.first = st.First % tags
	for _, sl := range st.Window {
		p := s.chats[sl.Chat]
		if p == nil {
			p = s.positionLocked(sl.Chat, sl.Seq-1)
		}
		p.sent = max(p.sent, sl.Seq)
		p.want = p.sent
		p.out++
		win := s.windowLocked(p)
		win.push(slot{p: p, seq: sl.Seq, done: sl.Done, mute: sl.Mute, step: sl.Step})
		win.again = 0
	}
}

// feedsAgainLocked tells whether entries that an earlier, crashed session may have
// sent are still to be acknowledged.
func (s *Session) feedsAgainLocked() bool {
	for _, p := range s.chats {
		if p.acked < p.dupTo {
			return true
		}
	}
	return false
}

// snapshotLocked returns the state to be kept.
func (s *Session) snapshotLocked(persistent bool) state {
	st := state{Version: stateVersion, Epoch: s.epoch, Persistent: persistent, Carrier: s.carrier}
	st.Again = s.aftercrash && (s.loading || s.feedsAgainLocked())
	if !persistent {
		return st
	}
	st.Subs = s.subs
	st.First = s.window.first
	for _, win := range [...]*window{&s.window, &s.queue} {
		for i := range win.len() {
			sl := win.at(i)
			st.Window = append(st.Window, stateSlot{sl.p.id, sl.seq, sl.done, sl.mute, sl.step.kept()})
		}
	}
	st.Received = s.receivedLocked()
	st.Began = s.began
	for _, r := range s.held {
		if r.Seq != 0 || r.Open {
			st.Held = append(st.Held, r)
		}
	}
	return st
}

// receivedLocked lists the entries of the queue that the device has although the
// stored cursor is in front of them. They are in the window, too; but a crash of a
// later connection costs the window.
func (s *Session) receivedLocked() []uint64 {
	if s.open == nil {
		return nil
	}
	var list []uint64
	saved := s.open.acked.Load()
	for seq := range s.received {
		if seq > saved {
			list = append(list, seq)
		}
	}
	for i := range s.queue.len() {
		if sl := s.queue.at(i); sl.step == awaitsPubcomp && sl.seq > saved {
			list = append(list, sl.seq)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// keep writes a state. While the session is open, its epoch in the state is the
// one before: what this connection sends is not settled by what was written at
// its SUBSCRIBE.
func (s *Session) keep(ctx context.Context, st state, closed, durable bool) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	return s.keepInTurn(ctx, st, closed, durable)
}

// keepHeld sees to it that the stored state of an open session holds these
// publishes, if they are other ones than before.
func (s *Session) keepHeld(ctx context.Context, held []sentRow, changed bool) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if changed {
		s.keptHeld, s.unkept = held, true
	}
	if !s.unkept {
		return nil
	}
	s.mu.Lock()
	st := s.snapshotLocked(true)
	s.mu.Unlock()
	return s.keepInTurn(ctx, st, false, false)
}

// beginFeeding makes durable that the session is open, in front of the first entry
// that was in its queue before: else a crash could leave a session that was closed
// in order, and the entry would come again without DUP, as if it were new to the
// device. Entries that come later are appended behind the opening, and with it
// durable. A full store does not hold up what is waiting.
func (s *Session) beginFeeding(ctx context.Context) error {
	s.mu.Lock()
	begun := s.feeding
	s.feeding = true
	st := s.snapshotLocked(true)
	s.mu.Unlock()
	if begun {
		return nil
	}
	if err := s.keep(ctx, st, false, true); err != nil && !errors.Is(err, storage.ErrFull) {
		s.mu.Lock()
		s.feeding = false
		s.mu.Unlock()
		return err
	}
	return nil
}

func (s *Session) keepInTurn(ctx context.Context, st state, closed, durable bool) error {
	if s.sealed {
		return nil
	}
	if !closed {
		st.Held = s.keptHeld
		st.Epoch, st.Window, st.Keep = s.closedAt, nil, s.keepFor.Milliseconds()
		st.Sent = s.kept
		st.Unclean = s.crashed
	}
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("encode session state: %w", err)
	}
	err = s.e.store.SaveSession(ctx, storage.SessionState{
		Device: s.device(), Epoch: s.epoch, State: b, Closed: closed, NowMS: time.Now().UnixMilli(), Durable: durable,
		Listed: len(st.Carrier) > 0 || s.e.open.selectsAny(&s.id, st.Subs),
	})
	if err == nil {
		s.sealed, s.unkept = closed, false
	}
	return err
}

// SaveCarrier keeps an opaque JSON value of the carrier with the session, for
// the OpenInfo of the next connection, also after a crash. It is durable on
// return. It may block.
func (s *Session) SaveCarrier(ctx context.Context, b []byte) error {
	if s.id.Guest {
		return nil
	}
	s.mu.Lock()
	s.carrier = b
	st := s.snapshotLocked(!s.temporary)
	s.mu.Unlock()
	return s.keep(ctx, st, false, true)
}
