package delivery

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"tidings/storage"
)

// retainedMessage is the retained message of an open topic. It does not change.
type retainedMessage struct {
	record  []byte // as appendOpen writes it
	qos     byte   // as published
	expires int64  // Unix milliseconds; 0: never
	size    int    // what it counts against the limit
}

// left returns the seconds until m expires, at least 1; 0: never.
func (m *retainedMessage) left() uint32 {
	if m.expires == 0 {
		return 0
	}
	return uint32(max(1, (m.expires-time.Now().UnixMilli()+999)/1000))
}

const retainedVersion = 1

// append appends the record under which the store keeps m.
func (m *retainedMessage) append(b []byte) []byte {
	b = append(b, retainedVersion, m.qos)
	b = binary.BigEndian.AppendUint64(b, uint64(m.expires))
	return append(b, m.record...)
}

func decodeRetained(b []byte) (*retainedMessage, error) {
	const head = 1 + 1 + 8
	if len(b) < head || b[0] != retainedVersion || b[1] > 2 {
		return nil, errOpenRecord
	}
	m := &retainedMessage{qos: b[1], expires: int64(binary.BigEndian.Uint64(b[2:])), record: b[head:]}
	if m.expires < 0 {
		return nil, errOpenRecord
	}
	if _, err := decodeOpen(m.record); err != nil {
		return nil, err
	}
	m.size = len(m.record)
	return m, nil
}

func (m *retainedMessage) over(now int64) bool { return m.expires != 0 && m.expires <= now }

// retainLocked makes m the retained message of a topic, or removes it where m is
// nil, and returns the one until then.
func (o *openTopics) retainLocked(topic string, m *retainedMessage) (old *retainedMessage) {
	if m == nil {
		old, _ = o.retained.Delete(topic)
	} else {
		old, _ = o.retained.Set(topic, m)
		o.retainedBytes += m.size
	}
	if old != nil {
		o.retainedBytes -= old.size
	}
	return old
}

// fitsLocked tells whether one more retained message is within the limits.
func (o *openTopics) fitsLocked(topic []byte, m *retainedMessage) bool {
	count, bytes := o.retained.Len()+1, o.retainedBytes+m.size
	if old, ok := o.retained.Get(topic); ok {
		count, bytes = count-1, bytes-old.size
	}
	return count <= o.cfg.Retained && bytes <= o.cfg.RetainedBytes
}

// searchPause is how long after a search for expired retained messages the next one
// begins at the earliest: it looks at them all.
const searchPause = time.Second

// lookForExpiredLocked returns the topics whose retained message has expired, at
// least if it has not done so just before.
func (o *openTopics) lookForExpiredLocked(now int64) []string {
	if now < o.searched+searchPause.Milliseconds() {
		return nil
	}
	o.searched = now
	var over []string
	o.retained.Match("#", func(topic string, m *retainedMessage) bool {
		if m.over(now) {
			over = append(over, topic)
		}
		return true
	})
	return over
}

// lookUpLocked adds the retained messages that match a new subscription.
func (o *openTopics) lookUpLocked(jobs []retainedJob, sub *subscriber, filter string, w openWant) []retainedJob {
	now := time.Now().UnixMilli()
	o.retained.Match(filter, func(topic string, m *retainedMessage) bool {
		if !m.over(now) && sub.access.mayRead([]byte(topic)) && o.names(&sub.id).Has([]byte(topic)) {
			job := retainedJob{m: m, manner: manner{qos: min(m.qos, w.qos), retain: true}}
			if w.id != 0 {
				job.ids = []uint32{w.id}
			}
			jobs = append(jobs, job)
		}
		return true
	})
	return jobs
}

// loadRetained reads the retained messages; those that have expired go.
func (o *openTopics) loadRetained(ctx context.Context) error {
	now := time.Now().UnixMilli()
	var after string
	for {
		page, err := o.e.store.ListRetained(ctx, after, listedPage)
		if err != nil || len(page) == 0 {
			return err
		}
		var over []storage.Retained
		for _, r := range page {
			after = r.Topic
			m, err := decodeRetained(r.Body)
			switch {
			case err != nil:
				o.e.log.Error("cannot read a retained message", "err", err)
			case m.over(now):
				over = append(over, storage.Retained{Topic: r.Topic})
			default:
				o.retainLocked(r.Topic, m)
			}
		}
		if len(over) == 0 {
			continue
		}
		if err := o.e.store.Append(ctx, &storage.Batch{Retained: over}); err != nil {
			o.e.log.Warn("cannot remove expired retained messages", "err", err)
		}
	}
}

// retain makes the item the retained message of its topic. The lock is held.
func (c *committer) retain(b *batch, it *item, topic []byte) *Refusal {
	o, name := c.e.open, string(topic)
	var m *retainedMessage
	if !it.open.empty { // an empty payload removes [MQTT-3.3.1-6]
		record := b.bytes(it, it.body)
		m = &retainedMessage{record: append([]byte(nil), record...), qos: it.qos, size: len(record)}
		m.expires = it.expires()
		if !o.fitsLocked(topic, m) {
			for _, over := range o.lookForExpiredLocked(it.time) {
				o.retainLocked(over, nil)
				b.entries.Retained = append(b.entries.Retained, storage.Retained{Topic: over})
			}
			if !o.fitsLocked(topic, m) {
				return refuseRetained
			}
		}
	}
	it.open.changed, it.open.keeps, it.open.kept = true, m, o.retainLocked(name, m)
	return nil
}

// unretain takes back what the items of a batch that are not accepted have done to
// retained messages, the last one first. What a later item has put there that is
// accepted stays.
func (c *committer) unretain(b *batch) {
	o := c.e.open
	o.mu.Lock()
	defer o.mu.Unlock()
	settled := make(map[string]bool)
	items := b.part()
	for i := range slices.Backward(items) {
		it := &items[i]
		if it.kind != kindOpen || !it.open.changed {
			continue
		}
		topic := string(b.bytes(it, it.topic))
		switch of := it.open; {
		case settled[topic]:
		case !it.undone():
			settled[topic] = true
		default:
			o.retainLocked(topic, of.kept)
			of.changed = false
		}
	}
}

// undone tells whether the item's retained message must not be: the item is not
// accepted, or repeats one that was.
func (it *item) undone() bool { return it.dropped || it.refusal != nil || !it.open.retain }
