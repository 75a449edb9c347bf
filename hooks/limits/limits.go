// Package limits is the built-in plugin that keeps a device or a user from
// publishing more than an operator wants, and the rate at which logins are let in.
//
// Both are buckets that fill with time: a rate, and a burst that is saved up in
// calm. They are kept as one number, the time at which the bucket will be full
// again, so that a full bucket needs no memory and an idle device costs nothing.
package limits

import (
	"fmt"
	"sync/atomic"
	"time"

	"tidings/hooks"
)

// Rate is how much one device or one user may publish. Zero means without limit.
type Rate struct {
	Messages float64 // publishes of any kind, per second
	Bytes    float64 // of payload, per second
}

// Config is what New needs.
type Config struct {
	Device Rate // of each device
	User   Rate // of all devices of one user together

	// Burst is how long a rate may be saved up: after such a calm, Burst times the
	// rate passes at once. 0: 10 s.
	Burst time.Duration
}

// Enabled tells whether there is any limit. Without one the plugin is not needed.
func (c Config) Enabled() bool { return c.Device != Rate{} || c.User != Rate{} }

// entriesPerShard bounds the buckets of devices, and those of users, that are
// remembered: 64 shards of them each, 40 bytes an entry or so. It takes more than
// a million busy devices on one node to reach that; then some are forgiven early.
const entriesPerShard = 1 << 14

// Limits is a hooks.Publisher that refuses, with quota_exceeded, what is over a
// limit. Actors without ids, that is operators, are not limited. It has no
// goroutines, does not allocate per publish, and is safe for concurrent use.
type Limits struct {
	start   time.Time // fixed: times are since then
	devices *table
	users   *table

	refused struct{ device, user atomic.Uint64 }
}

var (
	errDevice = &hooks.Refusal{Code: "quota_exceeded", Message: "This device sends too much. Try again later."}
	errUser   = &hooks.Refusal{Code: "quota_exceeded", Message: "This user sends too much. Try again later."}
)

// New checks the configuration and makes the plugin.
func New(c Config) (*Limits, error) {
	if c.Burst == 0 {
		c.Burst = 10 * time.Second
	}
	if c.Burst < 0 {
		return nil, fmt.Errorf("limits: a burst of %v is negative", c.Burst)
	}
	for _, n := range []float64{c.Device.Messages, c.Device.Bytes, c.User.Messages, c.User.Bytes} {
		if !(n >= 0) { // also NaN
			return nil, fmt.Errorf("limits: a rate of %v a second is not possible", n)
		}
	}
	return &Limits{
		start:   time.Now(),
		devices: newTable(c.Device, c.Burst, entriesPerShard),
		users:   newTable(c.User, c.Burst, entriesPerShard),
	}, nil
}

// BeforePublish implements hooks.Publisher.
func (l *Limits) BeforePublish(a *hooks.Actor, p *hooks.Publish) error {
	now := time.Since(l.start)
	// Both are looked at before either is charged: what the user's limit refuses
	// does not count against the device. Lock order: devices before users.
	d := l.devices.lock(uint64(a.Device))
	defer d.unlock()
	if d.over(now) {
		l.refused.device.Add(1)
		return errDevice
	}
	u := l.users.lock(uint64(a.User))
	defer u.unlock()
	if u.over(now) {
		l.refused.user.Add(1)
		return errUser
	}
	d.charge(now, len(p.Payload))
	u.charge(now, len(p.Payload))
	return nil
}

// Stats counts refusals since the start, and the buckets that are remembered.
type Stats struct {
	RefusedDevice uint64 // over the limit of the device
	RefusedUser   uint64 // over the limit of the user
	Forgiven      uint64 // buckets dropped before they were full, for lack of room
	Buckets       int
}

// Stats returns the counts.
func (l *Limits) Stats() Stats {
	s := Stats{RefusedDevice: l.refused.device.Load(), RefusedUser: l.refused.user.Load()}
	for _, t := range []*table{l.devices, l.users} {
		n, forgiven := t.size()
		s.Buckets += n
		s.Forgiven += forgiven
	}
	return s
}
