package broker

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"tidings/delivery"
)

// maxWaitingWills is how many wills may wait for their delay at once. Beyond it a
// will is sent without delay.
const maxWaitingWills = 100_000

// willPosts is how many wills that are due are sent at once.
const willPosts = 16

// waitingWill is a will message whose delay has not passed.
type waitingWill struct {
	device deviceKey
	from   delivery.Identity
	will   *will
	kept   []byte // what the store holds for it, nil: nothing
	due    time.Time
	at     int // place in the heap
}

// wills are the will messages that wait, ordered by when they are due. The sweeper
// looks after them; none has a goroutine or a timer of its own.
type wills struct {
	srv *Server
	max int

	mu      sync.Mutex
	of      map[deviceKey]*waitingWill
	queue   willHeap
	closing bool // no will waits or is due any more
}

func newWills(s *Server) *wills {
	return &wills{srv: s, max: maxWaitingWills, of: make(map[deviceKey]*waitingWill)}
}

// wait has a will sent after its delay, unless the device connects again before.
// It is false if there are too many that wait. Once the server shuts down nothing
// waits here: what is kept of the will in the store is taken up at the next start.
func (w *wills) wait(m *waitingWill, delay time.Duration) bool {
	m.due = time.Now().Add(delay)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing {
		return true
	}
	old := w.of[m.device]
	if old == nil && len(w.queue) >= w.max {
		return false
	}
	if old != nil {
		heap.Remove(&w.queue, old.at)
	}
	w.of[m.device] = m
	heap.Push(&w.queue, m)
	return true
}

// cancel takes back the will of a device that waits for its delay.
func (w *wills) cancel(d deviceKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.of[d]; m != nil {
		heap.Remove(&w.queue, m.at)
		delete(w.of, d)
	}
}

// sendDue has the wills sent whose delay has passed. The sweeper calls it.
func (w *wills) sendDue() {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closing && len(w.queue) > 0 && !w.queue[0].due.After(now) {
		m := heap.Pop(&w.queue).(*waitingWill)
		delete(w.of, m.device)
		w.submit(m)
	}
}

// submit has a will sent now, by a bounded number of goroutines. Wills that the
// server cannot send now stay in the store for its next start.
func (w *wills) submit(m *waitingWill) {
	w.srv.posts.submit(func() {
		ctx, cancel := context.WithTimeout(w.srv.ctx, w.srv.cfg.RequestTimeout)
		defer cancel()
		if !w.srv.post(ctx, m.from, m.will) || m.kept == nil {
			return
		}
		if err := w.srv.engine.ForgetCarrier(ctx, m.from, m.kept); err != nil {
			w.srv.log.Warn("will message not forgotten", "error", err)
		}
	})
}

// shut gives up all wills that wait: they stay with their sessions in the store.
func (w *wills) shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing, w.queue = true, nil
	clear(w.of)
}

// willHeap implements heap.Interface.
type willHeap []*waitingWill

// Len implements heap.Interface.
func (h willHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h willHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

// Swap implements heap.Interface.
func (h willHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *willHeap) Push(x any) {
	m := x.(*waitingWill)
	m.at = len(*h)
	*h = append(*h, m)
}

// Pop implements heap.Interface.
func (h *willHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return m
}
