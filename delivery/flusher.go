package delivery

import (
	"context"
	"sync"
	"time"

	"tidings/chat"
	"tidings/storage"
)

// flusher writes cursors behind: what sessions have had acknowledged is collected
// and stored together, at most CursorFlush after the acknowledgement, and only
// then are the authors told.
type flusher struct {
	e    *Engine
	wake chan struct{} // of capacity 1

	mu      sync.Mutex
	list    []*Session           // with something to look at
	waiting []chan struct{}      // closed after the next flush
	reads   map[markKey]uint64   // read watermarks to be told
	counts  map[chat.ID]bool     // groups whose authors are to be told how many have read
	full    map[*subscriber]bool // queues that have given up entries
	jobs    []func(context.Context)
	ended   bool
}

// advanceChunk bounds one call to the store.
const advanceChunk = 4096

func newFlusher(e *Engine) *flusher { return &flusher{e: e, wake: make(chan struct{}, 1)} }

// add lists a session. The caller holds its lock and makes sure that it is listed
// once.
func (f *flusher) add(s *Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, s)
}

// readLater has a read watermark, which is durable, told with the next flush.
func (f *flusher) readLater(k markKey, seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reads == nil {
		f.reads = make(map[markKey]uint64)
	}
	f.reads[k] = max(f.reads[k], seq)
}

// countLater has the authors of a group told with the next flush.
func (f *flusher) countLater(id chat.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = make(map[chat.ID]bool)
	}
	f.counts[id] = true
}

// trimLater has what a full queue has given up removed with the next flush.
func (f *flusher) trimLater(sub *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full == nil {
		f.full = make(map[*subscriber]bool)
	}
	f.full[sub] = true
}

// later has something done with the next flush.
func (f *flusher) later(job func(context.Context)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs = append(f.jobs, job)
}

// flush asks for a flush now and returns a channel that is closed after it.
func (f *flusher) flush() <-chan struct{} {
	done := make(chan struct{})
	f.mu.Lock()
	if f.ended {
		close(done)
	} else {
		f.waiting = append(f.waiting, done)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return done
}

// run flushes every interval, and when asked, until ctx ends; then once more.
func (f *flusher) run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-f.wake:
		case <-ctx.Done():
			f.mu.Lock()
			f.ended = true
			f.mu.Unlock()
			f.round(context.WithoutCancel(ctx))
			return
		}
		f.round(ctx)
	}
}

// saving is one cursor on its way to the store.
type saving struct {
	s     *Session
	p     *position
	acked uint64
	count uint64
}

func (f *flusher) round(ctx context.Context) {
	f.mu.Lock()
	list, waiting := f.list, f.waiting
	f.list, f.waiting = nil, nil
	f.mu.Unlock()
	var savings []saving
	for _, s := range list {
		savings = s.collect(savings)
	}
	for len(savings) > 0 {
		n := min(len(savings), advanceChunk)
		f.save(ctx, savings[:n])
		savings = savings[n:]
	}
	for _, done := range waiting {
		close(done)
	}
	f.mu.Lock()
	reads, counts, full, jobs := f.reads, f.counts, f.full, f.jobs
	f.reads, f.counts, f.full, f.jobs = nil, nil, nil, nil
	f.mu.Unlock()
	for _, job := range jobs {
		job(ctx)
	}
	for sub := range full {
		f.e.open.trim(ctx, sub, sub.dropped.Load())
	}
	for k, seq := range reads {
		f.e.receipts.read(ctx, k.chat, k.user, seq)
	}
	for id := range counts {
		f.e.receipts.count(ctx, id)
	}
}

// collect appends the cursors of s that have moved since they were stored, and
// lets go of positions where nothing is outstanding.
func (s *Session) collect(savings []saving) []saving {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = false
	for id, p := range s.chats {
		switch {
		case p.dirty():
			savings = append(savings, saving{s, p, p.acked, p.count})
		case p.out == 0 && !p.behind && !s.loading:
			delete(s.chats, id)
		}
	}
	if len(s.chats) == 0 {
		s.chats = nil
		s.window.release()
		s.queue.release()
	}
	s.wakeUpToLocked(s.limit - 1)
	return savings
}

// save stores cursors and tells who waits for that: the session, that its
// positions may go, and the authors.
func (f *flusher) save(ctx context.Context, savings []saving) {
	advances := make([]storage.Advance, len(savings))
	for i, v := range savings {
		advances[i] = storage.Advance{
			Chat: v.p.id, User: v.s.user(), Device: v.s.device(), Cursor: v.acked, Delivered: v.count,
		}
	}
	if err := f.e.store.Advance(ctx, advances); err != nil {
		f.e.log.Error("cannot store cursors; trying again", "err", err, "cursors", len(advances))
		for _, v := range savings {
			v.s.mu.Lock()
			v.s.dirtyLocked()
			v.s.mu.Unlock()
		}
		return
	}
	for _, v := range savings {
		if v.p.id.Kind() == chat.KindQueue {
			f.e.open.saved(ctx, v.s.open, v.acked)
		}
		v.s.mu.Lock()
		v.p.saved = max(v.p.saved, v.acked)
		v.s.dirtyLocked() // so that the position is looked at once more, and goes
		v.s.mu.Unlock()
		if v.count > 0 {
			f.e.plugins.AfterDelivered(v.s.user(), v.s.device(), v.p.id, v.count)
		}
	}
	f.tell(ctx, savings)
}

// tell sends the receipts of a flush.
func (f *flusher) tell(ctx context.Context, savings []saving) {
	for _, v := range savings {
		switch {
		case v.count == 0:
		case v.p.id.Kind() == chat.KindGroup:
			f.countLater(v.p.id)
		default:
			f.e.receipts.mark(ctx, v.p.id, v.s.user(), v.count, 0)
		}
	}
}
