package scenario

import (
	"sync/atomic"
	"time"

	"tidings/internal/mqttest"
)

// remembered is how many of its latest deliveries a receiver knows the time of. It covers several seconds at full load.
const remembered = 8192

// crashes is what a fleet notes about the server's ends.
type crashes struct {
	at     atomic.Int64 // when the server was last killed
	oldest atomic.Int64 // longest time before a kill at which something came that came again after it
}

// diary is what a member must remember so that loss and repetition can be judged when the server has been killed. A nil
// diary remembers nothing. What is sent and answered is under the member's lock, what is received belongs to its reader.
type diary struct {
	seqOf [ring]uint32 // by packet identifier - 1
	acked []uint32     // seqs of the messages that were answered as stored
	came  [remembered]int64
}

// sent notes which message a packet identifier stands for.
func (d *diary) sent(id uint16, seq uint32) {
	if d != nil {
		d.seqOf[id-1] = seq
	}
}

// answered notes a PUBACK.
func (d *diary) answered(a *mqttest.Ack) {
	if d != nil && a.Code < 0x80 {
		d.acked = append(d.acked, d.seqOf[a.ID-1])
	}
}

// received notes when a message came for the first time.
func (d *diary) received(seq uint32, at int64) {
	if d != nil {
		d.came[seq%remembered] = at
	}
}

// again notes a message that had come before.
func (d *diary) again(c *crashes, seq uint32) {
	if d == nil {
		return
	}
	age := c.at.Load() - d.came[seq%remembered]
	for {
		oldest := c.oldest.Load()
		if age <= oldest || c.oldest.CompareAndSwap(oldest, age) {
			return
		}
	}
}

// ms is a count of nanoseconds in milliseconds.
func ms[T ~int64](ns T) float64 { return float64(time.Duration(ns).Microseconds()) / 1000 }
