package mqttest

import (
	"context"
	"sync"
)

// inbox holds deliveries for Next where no OnMessage is set. It has no bound: the test decides what arrives.
type inbox struct {
	mu    sync.Mutex
	msgs  []*Message
	ready chan struct{} // holds a token while msgs is not empty or the connection has ended
	err   error
}

func (q *inbox) init() { q.ready = make(chan struct{}, 1) }

func (q *inbox) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *inbox) put(m *Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.msgs = append(q.msgs, m)
	q.wake()
}

func (q *inbox) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	q.wake()
}

func (q *inbox) take() (*Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.msgs) > 0 {
		m := q.msgs[0]
		q.msgs = q.msgs[1:]
		if len(q.msgs) > 0 || q.err != nil {
			q.wake()
		}
		return m, nil
	}
	if q.err != nil {
		q.wake()
	}
	return nil, q.err
}

// Next returns the oldest delivery that no earlier call returned and waits for one if there is none. After the end of the
// connection it returns what had come, then the cause. Only for clients without OnMessage.
func (c *Client) Next(ctx context.Context) (*Message, error) {
	for {
		m, err := c.inbox.take()
		if m != nil || err != nil {
			return m, err
		}
		select {
		case <-c.inbox.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Waiting is the number of deliveries that Next can return at once.
func (c *Client) Waiting() int {
	c.inbox.mu.Lock()
	defer c.inbox.mu.Unlock()
	return len(c.inbox.msgs)
}
