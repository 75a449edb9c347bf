package limits_test

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/chat"
	"tidings/hooks"
	"tidings/hooks/limits"
)

var _ hooks.Publisher = (*limits.Limits)(nil)

func newLimits(t testing.TB, c limits.Config) *limits.Limits {
	t.Helper()
	l, err := limits.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// burst publishes until it is refused and returns how many passed.
func burst(t testing.TB, l *limits.Limits, user chat.UserID, device chat.DeviceID, size int) int {
	t.Helper()
	p := &hooks.Publish{Payload: make([]byte, size)}
	for n := range 10_000 {
		err := l.BeforePublish(&hooks.Actor{User: user, Device: device}, p)
		if err == nil {
			continue
		}
		if r, ok := errors.AsType[*hooks.Refusal](err); !ok || r.Code != "quota_exceeded" {
			t.Fatalf("refused with %v, want quota_exceeded", err)
		}
		return n
	}
	return math.MaxInt
}

func TestRates(t *testing.T) {
	for _, tc := range []struct {
		name    string
		config  limits.Config
		size    int
		atOnce  int // after a calm
		perTick int // in the second after that
	}{
		{"nothing", limits.Config{}, 1000, math.MaxInt, math.MaxInt},
		{"messages of a device", limits.Config{Device: limits.Rate{Messages: 5}}, 1000, 50, 5},
		{"short burst", limits.Config{Device: limits.Rate{Messages: 5}, Burst: 2 * time.Second}, 1000, 10, 5},
		{"messages of a user", limits.Config{User: limits.Rate{Messages: 3}, Burst: time.Second}, 1000, 3, 3},
		{"bytes of a device", limits.Config{Device: limits.Rate{Bytes: 4000}, Burst: time.Second}, 1000, 4, 4},
		{"bytes of a user", limits.Config{User: limits.Rate{Bytes: 2000}, Burst: time.Second}, 1000, 2, 2},
		{"the stricter one", limits.Config{Device: limits.Rate{Messages: 9, Bytes: 4000}, User: limits.Rate{Messages: 7}, Burst: time.Second}, 1000, 4, 4},
		{"one that is larger than the burst", limits.Config{Device: limits.Rate{Bytes: 100}, Burst: time.Second}, 200, 1, 0},
		{"next to nothing", limits.Config{Device: limits.Rate{Bytes: 1e-12}, Burst: time.Second}, 1, 1, 0},
		{"less than one a second", limits.Config{Device: limits.Rate{Messages: 0.1}, Burst: 20 * time.Second}, 1, 2, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimits(t, tc.config)
				if got := burst(t, l, 1, 1, tc.size); got != tc.atOnce {
					t.Errorf("%d at once, want %d", got, tc.atOnce)
				}
				time.Sleep(time.Second)
				if got := burst(t, l, 1, 1, tc.size); got != tc.perTick {
					t.Errorf("%d a second later, want %d", got, tc.perTick)
				}
				time.Sleep(24 * time.Hour)
				if got := burst(t, l, 1, 1, tc.size); got != tc.atOnce {
					t.Errorf("%d at once after a calm, want %d", got, tc.atOnce)
				}
			})
		})
	}
}

func TestWhoIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, limits.Config{Device: limits.Rate{Messages: 2}, User: limits.Rate{Messages: 5}, Burst: time.Second})
		for _, tc := range []struct {
			name   string
			user   chat.UserID
			device chat.DeviceID
			want   int
		}{
			{"first device", 1, 11, 2},
			{"second device", 1, 12, 2},
			{"third device, up to the user's limit", 1, 13, 1},
			{"another user", 2, 21, 2},
			{"operator", 0, 0, math.MaxInt},
		} {
			if got := burst(t, l, tc.user, tc.device, 1); got != tc.want {
				t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
			}
		}
		if got, want := l.Stats(), (limits.Stats{RefusedDevice: 3, RefusedUser: 1, Buckets: 6}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
		// What the user's limit refused was not charged to the third device.
		time.Sleep(time.Second)
		if got := burst(t, l, 1, 13, 1); got != 2 {
			t.Errorf("third device a second later: %d, want 2", got)
		}
	})
}

func TestIdleBucketsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, limits.Config{Device: limits.Rate{Messages: 10}, Burst: time.Second})
		p := &hooks.Publish{}
		for i := range 100_000 {
			if err := l.BeforePublish(&hooks.Actor{User: 1, Device: chat.DeviceID(i + 1)}, p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		// 100 of them are not full at any time.
		if got := l.Stats(); got.Buckets > 64*limits.Shards || got.Forgiven != 0 {
			t.Errorf("%d buckets remembered, %d forgiven", got.Buckets, got.Forgiven)
		}
	})
}

func TestBusyBucketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits.NewSmall(limits.Config{Device: limits.Rate{Messages: 1}, Burst: time.Second}, 10)
		for i := range 10_000 {
			if got := burst(t, l, 1, chat.DeviceID(i+1), 1); got != 1 {
				t.Fatalf("device %d: %d, want 1", i, got)
			}
		}
		got := l.Stats()
		if got.Buckets != 10*limits.Shards || got.Forgiven != uint64(10_000-got.Buckets) {
			t.Errorf("Stats = %+v, want %d buckets and the others forgiven", got, 10*limits.Shards)
		}
	})
}

func TestConcurrentPublishersShareTheirLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, limits.Config{Device: limits.Rate{Messages: 100}, User: limits.Rate{Messages: 150}, Burst: time.Second})
		var passed atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				a := &hooks.Actor{User: 1, Device: chat.DeviceID(1 + i%2)}
				for range 100 {
					if l.BeforePublish(a, &hooks.Publish{}) == nil {
						passed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got := passed.Load(); got != 150 {
			t.Errorf("%d passed, want 150", got)
		}
	})
}

func TestNewChecksItsConfig(t *testing.T) {
	for name, c := range map[string]limits.Config{
		"negative messages": {Device: limits.Rate{Messages: -1}},
		"negative bytes":    {User: limits.Rate{Bytes: -1}},
		"no number":         {User: limits.Rate{Bytes: math.NaN()}},
		"negative burst":    {Burst: -1},
	} {
		if _, err := limits.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEnabled(t *testing.T) {
	for want, c := range map[bool]limits.Config{
		false: {Burst: time.Second},
		true:  {User: limits.Rate{Bytes: 1}},
	} {
		if got := c.Enabled(); got != want {
			t.Errorf("%+v: Enabled = %v", c, got)
		}
	}
}

func TestBeforePublishDoesNotAllocate(t *testing.T) {
	l := newLimits(t, limits.Config{Device: limits.Rate{Messages: 100}, User: limits.Rate{Bytes: 100}})
	a, p := &hooks.Actor{User: 1, Device: 1}, &hooks.Publish{Payload: []byte("hi")}
	if n := testing.AllocsPerRun(5000, func() { _ = l.BeforePublish(a, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if l.Stats().RefusedUser == 0 {
		t.Error("no refusal was measured")
	}
}

func TestLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := func(l *limits.Logins) (n int) {
			for n < 1000 && l.Allow() {
				n++
			}
			return n
		}
		l := limits.NewLogins(10, 2*time.Second)
		if got := count(l); got != 20 {
			t.Errorf("%d at once, want 20", got)
		}
		time.Sleep(500 * time.Millisecond)
		if got := count(l); got != 5 {
			t.Errorf("%d half a second later, want 5", got)
		}
		time.Sleep(time.Hour)
		if got := count(l); got != 20 {
			t.Errorf("%d at once after a calm, want 20", got)
		}
		if got := l.Refused(); got != 3 {
			t.Errorf("Refused = %d, want 3", got)
		}
		if got := count(limits.NewLogins(7, 0)); got != 7 {
			t.Errorf("%d at once by default, want 7", got)
		}
		none := limits.NewLogins(0, 0)
		if got := count(none); got != 1000 || none.Refused() != 0 {
			t.Errorf("%d without a rate, %d refused", got, none.Refused())
		}
	})
}

func BenchmarkBeforePublish(b *testing.B) {
	for name, c := range map[string]limits.Config{
		"off":  {},
		"both": {Device: limits.Rate{Messages: 1e12}, User: limits.Rate{Bytes: 1e15}},
	} {
		l := newLimits(b, c)
		b.Run(name, func(b *testing.B) {
			a, p := &hooks.Actor{User: 1, Device: 1}, &hooks.Publish{Payload: make([]byte, 200)}
			b.ReportAllocs()
			for b.Loop() {
				if err := l.BeforePublish(a, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
