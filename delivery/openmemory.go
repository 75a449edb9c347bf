package delivery

import "tidings/chat"

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

// maxMemoryQueue bounds the bytes of a queue in memory.
const maxMemoryQueue = 4 << 20

const memoryEntryCost = 64

// memoryChat is under what a session knows the position in its memory queue. No
// log has that id: device ids are given out from 1.
var memoryChat = chat.QueueChat(^chat.DeviceID(0))

func (q *memoryQueue) push(e memoryEntry) {
	q.waiting = append(q.waiting, e)
	q.bytes += len(e.record) + len(e.how) + memoryEntryCost
}

func (q *memoryQueue) pop() {
	e := &q.waiting[0]
	q.bytes -= len(e.record) + len(e.how) + memoryEntryCost
	*e = memoryEntry{}
	q.waiting = q.waiting[1:]
	q.first++
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
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
	q.push(memoryEntry{append([]byte(nil), l.record...), l.manner.append(nil, l.expires)})
	for len(q.waiting) > s.e.open.cfg.Queue || q.bytes > maxMemoryQueue {
		q.pop()
		s.e.stats.QueueDropped.Add(1)
	}
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
		q.pop()
	}
	if p.behind = len(q.waiting) > 0; p.behind {
		s.behind[p.class()].push(p)
	}
}
