package broker

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"tidings/delivery"
	"tidings/topics"
)

// RPC runs the operations that clients ask for by publishing to rpc/{operation}.
type RPC interface {
	// Call runs one operation for a device and returns its result as JSON, or a
	// refusal. params is the JSON object of the parameters as published, without its
	// rid; it is the callee's to keep. Call may block as long as ctx allows and may be
	// called from several goroutines. What fails without a known reason is refused
	// with delivery.CodeInternal or delivery.CodeUnavailable.
	Call(ctx context.Context, actor delivery.Identity, operation string, params []byte) (result []byte, refusal *delivery.Refusal)
}

// Fresh is an optional ability of an RPC: operations for which it tells true only
// read. Their answers are not kept, so that a repeated rid is answered anew.
type Fresh interface {
	Fresh(operation string) bool
}

const (
	maxCalls   = 8                // in flight per device
	maxRequest = 128 << 10        // bytes of a request: twice what a thousand names take
	maxParams  = 64               // of a request, its rid included; no operation has as many
	answerKept = 10 * time.Minute // for which a repeated rid gets the first answer
	maxAnswers = 64 << 20         // bytes of kept answers in all; the oldest go first
	answerCost = 256              // bytes that an answer costs beside itself
)

// Refusals of requests before they run.
var (
	refusalNoRPC    = &delivery.Refusal{Code: delivery.CodeUnknownTopic, Message: "there are no operations here"}
	refusalCalls    = &delivery.Refusal{Code: delivery.CodeQuota, Message: "too many requests at once"}
	refusalRequest  = &delivery.Refusal{Code: delivery.CodeTooLarge, Message: "the request is larger than 128 KiB"}
	refusalParams   = &delivery.Refusal{Code: delivery.CodeMalformed, Message: "a request is a JSON object"}
	refusalNoRID    = &delivery.Refusal{Code: delivery.CodeMalformed, Message: "a request needs an rid, or a response topic"}
	refusalRID      = &delivery.Refusal{Code: delivery.CodeMalformed, Message: "the rid must be a string of 1 to 64 printable characters without / + #"}
	refusalResponse = &delivery.Refusal{Code: delivery.CodeNotAllowed, Message: "the response topic must be below your u/…/rpc/"}
)

// isCall tells whether a topic is the carrier's, not the engine's.
func isCall(topic []byte) bool { return len(topic) > 4 && string(topic[:4]) == "rpc/" }

// callKey names a request for 10 minutes. The same rid with another request is
// another request.
type callKey struct {
	device deviceKey
	rid    string
	hash   [32]byte // of the operation and the parameters
}

// request is an rpc request under way.
type request struct {
	operation string
	params    []byte
	rid       string
	reply     reply
}

// reply is where an answer goes.
type reply struct {
	c           *conn
	topic       string
	correlation []byte
}

// calls are the requests in flight and the answers that are kept.
type calls struct {
	srv *Server

	mu      sync.Mutex
	running map[deviceKey]int
	kept    map[callKey]*answer
	order   []*answer // by age
	bytes   int
}

// answer is a request that runs, or its answer.
type answer struct {
	key     callKey
	done    bool
	payload []byte
	waiting []reply // asked again while it ran
	at      int64   // coarse time of the answer, in ms
}

func newCalls(s *Server) *calls {
	return &calls{srv: s, running: make(map[deviceKey]int), kept: make(map[callKey]*answer)}
}

// call takes a publish to rpc/…: nil means accepted, and that an answer will
// follow.
func (c *conn) call(p *delivery.Publish, response, correlation []byte) *delivery.Refusal {
	t := topics.Parse(p.Topic)
	if t.Kind != topics.RPC || c.srv.rpc == nil {
		return refusalNoRPC
	}
	if len(p.Payload) > maxRequest {
		return refusalRequest
	}
	q := request{operation: string(t.Name)}
	var ok bool
	if q.params, q.rid, ok = splitRID(p.Payload); !ok {
		return refusalParams
	}
	if q.rid != "" && !topics.ValidRID(q.rid) {
		return refusalRID
	}
	me := c.ident.Actor.UserName
	switch {
	case response != nil:
		if !topics.ValidResponseTopic(response, me) {
			return refusalResponse
		}
		q.reply = reply{c, string(response), append([]byte(nil), correlation...)}
	case q.rid != "":
		q.reply = reply{c, string(topics.AppendAnswer(nil, me, q.rid)), nil}
	default:
		return refusalNoRID
	}
	return c.srv.calls.accept(c.device(), c.ident, &q)
}

// accept runs a request, or answers one that was asked already.
func (k *calls) accept(d deviceKey, who delivery.Identity, q *request) *delivery.Refusal {
	fresh, _ := k.srv.rpc.(Fresh)
	keep := q.rid != "" && (fresh == nil || !fresh.Fresh(q.operation))
	a := &answer{}
	k.mu.Lock()
	defer k.mu.Unlock()
	if keep {
		a.key = callKey{d, q.rid, sha256.Sum256(append([]byte(q.operation+"\x00"), q.params...))}
		k.expireLocked()
		if old := k.kept[a.key]; old != nil {
			if old.done {
				k.srv.spawn(func() { q.reply.send(old.payload) })
			} else if len(old.waiting) < maxCalls {
				old.waiting = append(old.waiting, q.reply)
			}
			return nil
		}
	}
	if k.running[d] >= maxCalls {
		return refusalCalls
	}
	k.running[d]++
	if keep {
		k.kept[a.key] = a
	}
	k.srv.counters.calls.Add(1)
	k.srv.operations.submit(func() { k.run(d, who, q, a) })
	return nil
}

// run runs a request and answers it.
func (k *calls) run(d deviceKey, who delivery.Identity, q *request, a *answer) {
	payload, keep := k.execute(who, q)
	k.mu.Lock()
	if k.running[d]--; k.running[d] == 0 {
		delete(k.running, d)
	}
	a.done, a.payload, a.at = true, payload, k.srv.clock.now()
	waiting := append(a.waiting, q.reply)
	a.waiting = nil
	if a.key.rid != "" {
		if keep {
			k.order = append(k.order, a)
			k.bytes += len(payload) + answerCost
			k.expireLocked()
		} else {
			delete(k.kept, a.key)
		}
	}
	k.mu.Unlock()
	for _, r := range waiting {
		r.send(payload)
	}
}

// execute calls the operation and returns the payload of its answer. keep is
// false for refusals that the same request may not meet again.
func (k *calls) execute(who delivery.Identity, q *request) (payload []byte, keep bool) {
	refusal := &delivery.Refusal{Code: delivery.CodeInternal, Message: "the operation failed", Temporary: true}
	var result []byte
	func() {
		defer k.srv.guard()
		ctx, cancel := context.WithTimeout(k.srv.ctx, k.srv.cfg.RequestTimeout)
		defer cancel()
		result, refusal = k.srv.rpc.Call(ctx, who, q.operation, q.params)
	}()
	b := []byte{'{'}
	if q.rid != "" {
		b = append(appendJSON(append(b, `"rid":`...), q.rid), ',')
	}
	if refusal != nil {
		return append(appendError(append(b, `"error":`...), refusal), '}'), !refusal.Temporary
	}
	if len(result) == 0 {
		result = []byte("{}")
	}
	b = append(append(b, `"result":`...), result...)
	return append(b, '}'), true
}

// expireLocked forgets answers that are too old or too many.
func (k *calls) expireLocked() {
	oldest := k.srv.clock.now() - answerKept.Milliseconds()
	n := 0
	for n < len(k.order) && (k.order[n].at < oldest || k.bytes > maxAnswers) {
		a := k.order[n]
		delete(k.kept, a.key)
		k.bytes -= len(a.payload) + answerCost
		k.order[n] = nil
		n++
	}
	k.order = k.order[n:]
}
