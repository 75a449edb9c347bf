package broker

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"tidings/delivery"
	"tidings/topics"
)

// will is the will message of a connection: a message that is sent for the device
// when the connection ends without DISCONNECT. It is authorised when it is sent.
type will struct {
	delay   uint32 // seconds
	topic   string
	payload []byte
	text    bool // Content Type text/plain
	cid     string
}

// parseWill reads the will properties, topic and payload of a CONNECT.
func (k *connect) parseWill(s *scanner) (*will, byte) {
	var p props
	if k.version == 5 {
		if code := s.props(inWill, &p); code != 0 {
			return nil, code
		}
	}
	topic := s.text()
	payload := s.binary()
	if s.bad {
		return nil, malformed
	}
	if t := topics.Parse(topic); t.Kind != topics.User && t.Kind != topics.Group {
		return nil, codeTopicName // only messages can be wills
	}
	if p.payloadFormat == 1 && !utf8.Valid(payload) {
		return nil, malformed
	}
	return &will{delay: p.willDelay, topic: string(topic), payload: bytes.Clone(payload), text: string(p.contentType) == "text/plain"}, 0
}

// name gives the will the cid that makes sending it again harmless.
func (w *will) name(d deviceKey, epoch uint32) {
	name := d.guest
	if d.device != 0 {
		name = strconv.FormatUint(uint64(d.device), 10)
	}
	w.cid = "will:" + name + ":" + strconv.FormatUint(uint64(epoch), 10)
}

// wills are the will messages whose delay has not passed. Each has a goroutine
// that waits; there are few of them, since most wills have no delay.
type wills struct {
	srv *Server

	mu      sync.Mutex
	waiting map[deviceKey]context.CancelFunc
	closing bool // no will waits any more; those without delay are still sent
}

func newWills(s *Server) *wills {
	return &wills{srv: s, waiting: make(map[deviceKey]context.CancelFunc)}
}

// send sends a will after its delay, unless the device connects again before.
func (w *wills) send(d deviceKey, from delivery.Identity, m *will, delay time.Duration) {
	ctx, cancel := context.WithCancel(w.srv.ctx)
	w.mu.Lock()
	if old := w.waiting[d]; old != nil {
		old()
	}
	w.waiting[d] = cancel
	if w.closing && delay > 0 {
		cancel()
	}
	w.mu.Unlock()
	w.srv.spawn(func() {
		defer cancel()
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return // cancel, or a later will, has taken the entry
		case <-timer.C:
		}
		if ctx.Err() == nil {
			w.cancel(d)
			w.post(from, m)
		}
	})
}

// cancel takes back the will of a device that waits for its delay.
func (w *wills) cancel(d deviceKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel := w.waiting[d]; cancel != nil {
		cancel()
		delete(w.waiting, d)
	}
}

// shut takes back all wills that wait: they stay with their sessions in the store.
func (w *wills) shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing = true
	for _, cancel := range w.waiting {
		cancel()
	}
}

// post sends a will as the message that it is.
func (w *wills) post(from delivery.Identity, m *will) {
	ctx, cancel := context.WithTimeout(w.srv.ctx, w.srv.cfg.RequestTimeout)
	defer cancel()
	if err := w.srv.engine.Post(ctx, from, &delivery.Publish{Topic: []byte(m.topic), Payload: m.payload, QoS: 1, Text: m.text}, m.cid); err != nil {
		w.srv.counters.willsRefused.Add(1)
		w.srv.log.Info("will message not sent", "error", err)
		return
	}
	w.srv.counters.willsSent.Add(1)
}
