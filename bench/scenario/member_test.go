package scenario

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"tidings/internal/mqttest"
)

// deliveries hands stamped messages to a receiver of a fleet of two and returns the fleet.
func deliveries(seqs ...uint32) *fleet {
	f := &fleet{members: make([]*member, 2)}
	f.reset()
	for i := range f.members {
		f.members[i] = &member{counters: &f.counters, all: f.members, index: uint32(i), got: make(map[uint32]*arrivals)}
	}
	for _, seq := range seqs {
		body := newBody(200)
		stamp{now(), 0, seq}.put(body)
		envelope := fmt.Appendf(nil, `{"id":"0190163d-0000","chat":"u/a","seq":9,"type":"text","body":%q}`, body)
		f.members[1].onMessage(nil, &mqttest.Message{Payload: envelope})
	}
	return f
}

func TestReceiverNoticesFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		seqs                   []uint32
		arrived, doubled, late int64
	}{
		"in order":              {[]uint32{1, 2, 3}, 3, 0, 0},
		"doubled":               {[]uint32{1, 2, 2, 3}, 3, 1, 0},
		"gap":                   {[]uint32{1, 3, 4}, 3, 0, 0},
		"reordered and doubled": {[]uint32{2, 1, 3, 1}, 3, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := deliveries(tt.seqs...)
			if a, d, l := f.arrived.Load(), f.doubled.Load(), f.late.Load(); a != tt.arrived || d != tt.doubled || l != tt.late {
				t.Errorf("arrived %d, doubled %d, reordered %d; want %+v", a, d, l, tt)
			}
		})
	}
}

func TestDeliveryWithoutStampIsNoMessage(t *testing.T) {
	f := deliveries(1)
	f.members[1].onMessage(nil, &mqttest.Message{Payload: []byte(`{"chat":"u/a","user":"a","delivered":1}`)})
	if f.other.Load() != 1 || f.arrived.Load() != 1 {
		t.Errorf("other %d, arrived %d", f.other.Load(), f.arrived.Load())
	}
}

func TestStampInsideAnEnvelope(t *testing.T) {
	body := newBody(stampLen)
	want := stamp{int64(3*time.Hour + 7), 0xabcdef, 0xffffffff}
	want.put(body)
	got, ok := findStamp(append([]byte(`{"body":"`), append(body, `"}`...)...))
	if !ok || got != want {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
	if _, ok := findStamp(body[:stampLen-1]); ok {
		t.Error("a stamp that is cut short is found")
	}
}

func TestTextsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, size := range []int{stampLen, 200, 4096, 1 << 20} {
		b := newBody(size)
		for n := range uint32(50) {
			text(b, n*7)
			if !bytes.HasPrefix(b, []byte(stampMark)) || bytes.ContainsAny(b[stampLen:], "\x00\"\\") {
				t.Fatalf("body of %d bytes is %.80q", size, b)
			}
			if size == 200 && seen[string(b)] {
				t.Fatalf("text %d repeats an earlier one", n)
			}
			seen[string(b)] = true
		}
	}
}

func TestSenderStopsAtAFullRing(t *testing.T) {
	f := deliveries()
	m := f.members[0]
	m.topics, m.body, m.id = []string{"u/b"}, newBody(200), ring-1
	m.sentAt = make([]int64, ring)
	m.sentAt[ring-1] = 1
	if m.queueLocked(nil) || f.skipped.Load() != 1 || f.sent.Load() != 0 {
		t.Errorf("skipped %d, sent %d", f.skipped.Load(), f.sent.Load())
	}
}
