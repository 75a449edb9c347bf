package delivery

import (
	"bytes"
	"sync/atomic"

	"tidings/chat"
)

// memoryQueue is the queue of a session that ends with its connection: what has
// no room in the window waits in memory. Over the limits the oldest goes.
type memoryQueue struct {
	waiting []memoryEntry
	first   uint64 // seq of waiting[0]
	bytes   int
}

type memoryEntry struct {
	record []byte
	how    []byte
}

// Bounds of the bytes that wait in memory: of one session, and of all, beyond which
// each may have fairMemoryQueue. Messages that wait for several sessions count for
// each, though they are there once.
const (
	maxMemoryQueue  = 4 << 20
	maxMemoryQueues = 128 << 20
	fairMemoryQueue = 64 << 10

	memoryEntryCost = 64
)

// memoryChat is under what a session knows the position in its memory queue. No
// log has that id: device ids are given out from 1.
var memoryChat = chat.QueueChat(^chat.DeviceID(0))

// size is what an entry counts.
func (e *memoryEntry) size() int { return len(e.record) + len(e.how) + memoryEntryCost }

// push adds an entry, and removes the oldest ones while there is too much; it
// returns how many. The last one stays, however large. all is what waits in all
// queues.
func (q *memoryQueue) push(e memoryEntry, limit int, all *atomic.Int64) (dropped uint64) {
	q.waiting = append(q.waiting, e)
	q.bytes += e.size()
	all.Add(int64(e.size()))
	for len(q.waiting) > 1 && (len(q.waiting) > limit || q.bytes > maxMemoryQueue || q.bytes > fairMemoryQueue && all.Load() > maxMemoryQueues) {
		q.pop(all)
		dropped++
	}
	return dropped
}

// pop removes the oldest entry.
func (q *memoryQueue) pop(all *atomic.Int64) {
	e := &q.waiting[0]
	q.bytes -= e.size()
	all.Add(-int64(e.size()))
	*e = memoryEntry{}
	q.waiting = q.waiting[1:]
	q.first++
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
}

// drop gives up what waits, since the session has ended.
func (q *memoryQueue) drop(all *atomic.Int64) {
	all.Add(-int64(q.bytes))
	*q = memoryQueue{first: q.first + uint64(len(q.waiting))}
}

// offerMemoryLocked sends a message, or has it wait.
func (s *Session) offerMemoryLocked(l *openLive) {
	q := &s.memory
	if q.first == 0 {
		q.first = 1
	}
	seq := q.first + uint64(len(q.waiting))
	p := s.positionLocked(memoryChat, seq-1)
	p.memory, p.want = q, seq
	if !p.behind && s.sendOpenLocked(p, l, seq, false) {
		q.first = seq + 1
		return
	}
	if l.shared == nil {
		l.shared = bytes.Clone(l.record)
	}
	s.e.stats.QueueDropped.Add(q.push(memoryEntry{l.shared, l.manner.append(nil, l.expires)}, s.e.open.cfg.Queue, &s.e.open.waiting))
	if !p.behind {
		p.behind = true
		s.behind[p.class()].push(p)
	}
	s.wakeLocked()
}

// sendMemoryLocked sends what waits in memory, as far as there is room.
func (s *Session) sendMemoryLocked(p *position, l *openLive) {
	if s.ended {
		return
	}
	q := p.memory
	for range pullEntries {
		if len(q.waiting) == 0 {
			break
		}
		if q.first > p.sent+1 {
			s.passLocked(p, q.first-1, false) // dropped
		}
		e := &q.waiting[0]
		l.record = e.record
		var err error
		if l.openMessage, err = decodeOpen(e.record); err == nil {
			l.expires, err = l.manner.decode(e.how)
		}
		if err != nil { // our own record
			s.passLocked(p, q.first, false)
		} else if !s.sendOpenLocked(p, l, q.first, false) {
			break
		}
		q.pop(&s.e.open.waiting)
	}
	if p.behind = len(q.waiting) > 0; p.behind {
		s.behind[p.class()].push(p)
	}
}
