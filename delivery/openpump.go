package delivery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tidings/topics"
)

// retainedJob is one retained message that a new subscription asks for.
type retainedJob struct {
	m *retainedMessage
	manner
}

// merge adds jobs to those that wait. A message is sent once if several
// subscriptions have asked for it, so that no more can wait than there are, but for
// those that have been replaced, which go when there are many.
func (o *openTopics) merge(have, more []retainedJob) []retainedJob {
	if len(have) == 0 || len(more) == 0 {
		return append(have, more...)
	}
	if len(have)+len(more) > o.cfg.Retained {
		o.mu.RLock()
		have = slices.DeleteFunc(have, func(j retainedJob) bool { return !o.currentLocked(j.m) })
		o.mu.RUnlock()
	}
	at := make(map[*retainedMessage]int, len(have))
	for i := range have {
		at[have[i].m] = i
	}
	for _, j := range more {
		i, there := at[j.m]
		if !there {
			at[j.m] = len(have)
			have = append(have, j)
			continue
		}
		old := &have[i]
		old.qos = max(old.qos, j.qos)
		for _, id := range j.ids {
			if !slices.Contains(old.ids, id) {
				old.ids = append(slices.Clip(old.ids), id)
			}
		}
	}
	return have
}

// currentLocked tells whether a retained message is still that of its topic.
func (o *openTopics) currentLocked(m *retainedMessage) bool {
	of, err := decodeOpen(m.record)
	if err != nil {
		return false
	}
	now, _ := o.retained.Get(of.topic)
	return now == m
}

// stillAsked tells whether a retained message is to be sent to a subscriber that has
// asked for it. If another one has replaced it, he gets or has got that, and the old
// one behind it would be wrong; and he may have unsubscribed [MQTT-3.10.4-2].
func (o *openTopics) stillAsked(sub *subscriber, m *retainedMessage) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if sub.gone || !o.currentLocked(m) {
		return false
	}
	of, _ := decodeOpen(m.record)
	for f := range sub.filters {
		if topics.Match(f, string(of.topic)) {
			return true
		}
	}
	return false
}

// pumpLocked returns how many retained messages the session can take now. Those at
// QoS 1 and 2 go through its queue, and no more of them than have room there: so
// none is given up for another.
func (s *Session) pumpLocked() int {
	if len(s.pump) == 0 {
		return 0
	}
	n := min(len(s.pump), pullEntries)
	if s.pump[0].qos == 0 {
		return n
	}
	id := memoryChat
	if s.open.durable {
		id = s.open.queue()
	}
	room := s.e.open.cfg.Queue
	if p := s.chats[id]; p != nil {
		room -= int(p.want - p.acked)
	}
	return min(n, room)
}

// sendRetained sends the next retained messages that the session has asked for. At
// QoS 0 they go to the link; others go through the session's queue, so that they
// are kept, acknowledged and sent again like all that is in it.
func (w *puller) sendRetained(ctx context.Context, s *Session) error {
	var jobs []retainedJob
	s.mu.Lock()
	for n := s.pumpLocked(); n > 0 && !s.full && !s.ended; n-- {
		j := &s.pump[0]
		if j.qos == 0 {
			if len(jobs) > 0 || !w.retainedNow(s, j) {
				break
			}
		} else {
			if s.behind[3].head != nil { // what waits comes first
				break
			}
			jobs = append(jobs, *j)
		}
		s.pump = s.pump[1:]
	}
	if len(s.pump) == 0 {
		s.pump = nil
	}
	s.mu.Unlock()
	s.link.Flush()
	left, err := w.e.open.queueRetained(ctx, s.open, jobs)
	if len(left) > 0 {
		s.mu.Lock()
		s.pump = append(left, s.pump...)
		s.mu.Unlock()
	}
	return err
}

// retainedNow sends a retained message at QoS 0; false if there is no room.
func (w *puller) retainedNow(s *Session, j *retainedJob) bool {
	l := &w.open
	var err error
	if l.openMessage, err = decodeOpen(j.m.record); err != nil || j.m.over(time.Now().UnixMilli()) {
		return true
	}
	if s.barred.Load() || !s.mayRead(l.topic) || !s.e.open.stillAsked(s.open, j.m) {
		return true
	}
	l.manner, l.expires = j.manner, j.m.expires
	if r := s.deliverOpenLocked(l); r == NoRoom || r == Closed {
		s.full = true
		return false
	}
	return true
}

// queueRetained puts retained messages into a subscriber's queue, and returns those
// for which that was not done.
func (o *openTopics) queueRetained(ctx context.Context, sub *subscriber, jobs []retainedJob) (left []retainedJob, err error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	t := &Turn{e: o.e}
	items := make([]item, len(jobs))
	for i, j := range jobs {
		items[i] = item{
			kind: kindOpen, qos: j.qos, post: &post{from: sub.id.Actor, done: make(chan posted, 1)}, body: t.put(j.m.record), ttl: j.m.left(),
			open: &openItem{to: sub, job: j},
		}
	}
	if !o.e.intake.add(items, t.data) {
		return nil, nil // shut down
	}
	for i := range items {
		select {
		case r := <-items[i].post.done:
			switch {
			case r.refusal != nil:
				left, err = append(left, jobs[i]), fmt.Errorf("queue retained messages: %w", r.refusal)
			case r.unknown:
				left, err = append(left, jobs[i]), fmt.Errorf("queue retained messages: %w", refuseUnknown)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return left, err
}

// keepAsked puts the retained messages into the queue of an ended persistent session
// that it has asked for and not been sent: at its next connection it does not ask
// again. A full queue takes no more.
func (o *openTopics) keepAsked(ctx context.Context, s *Session, sub *subscriber) {
	s.mu.Lock()
	jobs := o.merge(s.pump, s.asked)
	s.pump, s.asked = nil, nil
	s.mu.Unlock()
	jobs = slices.DeleteFunc(jobs, func(j retainedJob) bool { return j.qos == 0 })
	jobs = jobs[:min(len(jobs), o.cfg.Queue)]
	for chunk := range slices.Chunk(jobs, listedPage) {
		if _, err := o.queueRetained(ctx, sub, chunk); err != nil {
			o.e.log.Error("cannot keep retained messages for a session that has ended", "err", err, "device", uint64(sub.id.Actor.Device))
			return
		}
	}
}
