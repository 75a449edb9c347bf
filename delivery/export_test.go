package delivery

import "tidings/chat"

// LeftLate tells presence of the end of a user's last session, as a closing
// session does that was overtaken by a connecting one.
func (e *Engine) LeftLate(u chat.UserID) { e.presence.left(u) }

// LimitLedger bounds what the committer keeps in memory of chats between batches.
func (e *Engine) LimitLedger(weight int) {
	<-e.committer.ledger.later(func(l *ledger) { l.max = weight })
}

// ForgetChat waits until the committer reads a chat again when it next needs it.
func (e *Engine) ForgetChat(id chat.ID) { <-e.committer.ledger.forgetChat(id) }

// DecodeState decodes the kept state of a session and returns how many deliveries
// its window holds.
func DecodeState(b []byte) (window int, err error) {
	st, err := decodeState(b)
	return len(st.Window), err
}

// OpenSubscribers returns how many sessions with subscriptions to open topics are
// kept for absent devices or connected ones.
func (e *Engine) OpenSubscribers() int {
	e.open.mu.RLock()
	defer e.open.mu.RUnlock()
	return len(e.open.devices)
}

// OpenRecords decodes b as each record of open topics, and returns those that it is,
// encoded again.
func OpenRecords(b []byte) map[string][]byte {
	out := make(map[string][]byte)
	if m, err := decodeOpen(b); err == nil {
		out["message"] = appendOpen(nil, m.topic, m.props, m.payload)
	}
	var how manner
	if expires, err := how.decode(b); err == nil {
		out["manner"] = how.append(nil, expires)
	}
	if m, err := decodeRetained(b); err == nil {
		out["retained"] = m.append(nil)
	}
	return out
}

// MemoryQueues returns how many bytes count as waiting in memory queues.
func (e *Engine) MemoryQueues() int64 { return e.open.waiting.Load() }
