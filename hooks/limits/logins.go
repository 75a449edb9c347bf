package limits

import (
	"sync/atomic"
	"time"
)

// Logins is the rate at which a node lets in logins: what is over it is told to
// come later, so that after an outage all come back one after the other rather
// than at once. It is safe for concurrent use; a nil Logins lets in everybody.
type Logins struct {
	cost  time.Duration // to earn one login
	burst time.Duration
	start time.Time // fixed: times are since then

	earned  atomic.Int64 // when all that passed will have been earned, as a Duration
	refused atomic.Uint64
}

// NewLogins makes a rate of perSecond logins, of which burst may be saved up
// (0: 1 s worth). Without a rate (zero or less) it returns nil.
func NewLogins(perSecond float64, burst time.Duration) *Logins {
	if !(perSecond > 0) {
		return nil
	}
	if burst <= 0 {
		burst = time.Second
	}
	return &Logins{cost: roundUp(float64(time.Second) / perSecond), burst: burst, start: time.Now()}
}

// Allow takes one login from what is saved up and tells whether there was one.
func (l *Logins) Allow() bool {
	if l == nil {
		return true
	}
	now := time.Since(l.start)
	for {
		old := l.earned.Load()
		if time.Duration(old) >= now+l.burst {
			l.refused.Add(1)
			return false
		}
		if l.earned.CompareAndSwap(old, int64(max(time.Duration(old), now)+l.cost)) {
			return true
		}
	}
}

// Refused returns how often Allow said no.
func (l *Logins) Refused() uint64 {
	if l == nil {
		return 0
	}
	return l.refused.Load()
}
