package scenario

import (
	"testing"
	"time"

	"tidings/internal/mqttest"
)

func TestMissingFromTheLog(t *testing.T) {
	for _, tt := range []struct {
		acked, log []uint32
		want       int64
	}{
		{nil, nil, 0},
		{[]uint32{1, 2, 3}, []uint32{3, 2, 1, 4}, 0}, // 4 was stored and its answer lost
		{[]uint32{1, 2, 3}, []uint32{1, 3}, 1},
		{[]uint32{5}, nil, 1},
	} {
		if got := missing(tt.acked, tt.log); got != tt.want {
			t.Errorf("acked %v, log %v: %d missing, want %d", tt.acked, tt.log, got, tt.want)
		}
	}
}

func TestDiaryKnowsWhatWasAcked(t *testing.T) {
	d := new(diary)
	d.sent(1, 10)
	d.sent(2, 11)
	d.sent(3, 12)
	d.answered(&mqttest.Ack{ID: 3})
	d.answered(&mqttest.Ack{ID: 2, Code: 0x97}) // refused: not stored
	d.answered(&mqttest.Ack{ID: 1})
	if len(d.acked) != 2 || d.acked[0] != 12 || d.acked[1] != 10 {
		t.Errorf("acked %v", d.acked)
	}
	var nobody *diary
	nobody.sent(1, 1)
	nobody.answered(&mqttest.Ack{ID: 1})
	nobody.received(1, 1)
}

func TestOldestDuplicate(t *testing.T) {
	var c crashes
	d := new(diary)
	d.received(1, int64(100*time.Millisecond))
	d.received(2, int64(250*time.Millisecond))
	c.at.Store(int64(300 * time.Millisecond))
	d.again(&c, 2)
	d.again(&c, 1)
	d.again(&c, 2)
	if got := time.Duration(c.oldest.Load()); got != 200*time.Millisecond {
		t.Errorf("oldest %v, want 200ms", got)
	}
}

func TestSustained(t *testing.T) {
	for name, tt := range map[string]struct {
		s    step
		want bool
	}{
		"all":                   {step{offered: 1000, sent: 10_000, delivered: 10_000}, true},
		"some still under way":  {step{offered: 1000, sent: 10_000, delivered: 9_400}, true},
		"too many still there":  {step{offered: 1000, sent: 10_000, delivered: 9_390}, false},
		"clients had to wait":   {step{offered: 1000, sent: 9_000, skipped: 1000, delivered: 9_000}, false},
		"a short phase's flow":  {step{offered: 1000, sent: 300, delivered: 200}, true},
		"a short phase's queue": {step{offered: 1000, sent: 300, delivered: 180}, false},
	} {
		if got := tt.s.sustained(); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSamplerReportsGrowth(t *testing.T) {
	var s sampler
	for i, v := range []float64{100, 100, 200, 200, 150, 150} {
		s.point("rss", "MiB", float64(i), v)
		s.point("files", "", float64(i), 7)
	}
	b := &bench{}
	s.report(b)
	r := Result{Values: b.values}
	for name, want := range map[string]float64{"rss_first_third": 100, "rss_last_third": 150, "rss_growth": 50, "files_growth": 0} {
		if got, ok := r.Figure(name); !ok || got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	if len(b.series) != 2 || len(b.series[0].Points) != 6 || b.series[0].Points[5] != [2]float64{5, 150} {
		t.Errorf("series %+v", b.series)
	}
}

func TestFullRingKeepsTheNextIdentifier(t *testing.T) {
	f := deliveries()
	m := f.members[0]
	m.topics, m.body, m.sentAt = []string{"u/b"}, newBody(200), make([]int64, ring)
	for i := range m.sentAt {
		m.sentAt[i] = 1
	}
	m.mu.Lock()
	for range 3 {
		m.queueLocked(nil)
	}
	m.mu.Unlock()
	if f.skipped.Load() != 3 || m.id != 0 {
		t.Errorf("skipped %d, next identifier after %d", f.skipped.Load(), m.id)
	}
}
