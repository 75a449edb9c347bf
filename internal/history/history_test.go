package history_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/internal/history"
)

const chat = "alice+bob"

var setting = history.Setting{
	Members:    map[string][]string{chat: {"alice", "bob"}},
	Devices:    map[string][]string{"alice": {"phone", "tab"}, "bob": {"phone"}},
	Redelivery: 200 * time.Millisecond,
	Transit:    100 * time.Millisecond,
}

// tape builds a record by hand; each event is 10 ms after the one before.
type tape struct {
	events []history.Event
	now    time.Duration
}

func (t *tape) add(e history.Event) {
	t.wait(10 * time.Millisecond)
	e.At = t.now
	t.events = append(t.events, e)
}

// wait lets time pass before the next event.
func (t *tape) wait(d time.Duration) { t.now += d }

func id(seq int64) string { return fmt.Sprintf("id%d", seq) }

func (t *tape) send(user, device, msg string) {
	t.add(history.Event{Kind: history.Send, User: user, Device: device, Conn: 1, Chat: chat, Msg: msg, CID: "c" + msg})
}

func (t *tape) ack(user, device, msg string, seq int64) {
	t.add(history.Event{Kind: history.Ack, User: user, Device: device, Conn: 1, Chat: chat, Msg: msg, CID: "c" + msg, Seq: seq, ID: id(seq)})
}

func (t *tape) deliver(user, device string, conn int, from, msg string, seq int64) {
	t.add(history.Event{
		Kind: history.Deliver, User: user, Device: device, Conn: conn, Chat: chat, From: from, Msg: msg,
		Seq: seq, ID: id(seq), Dup: conn > 1,
	})
}

func (t *tape) acked(user, device string, conn int, seq int64) {
	t.add(history.Event{Kind: history.Acked, User: user, Device: device, Conn: conn, Chat: chat, Seq: seq})
}

func (t *tape) take(user, device, from, msg string, seq int64) {
	t.deliver(user, device, 1, from, msg, seq)
	t.acked(user, device, 1, seq)
}

func (t *tape) entry(from, msg string, seq int64) {
	t.add(history.Event{Kind: history.Entry, User: "alice", Device: "phone", Chat: chat, From: from, Msg: msg, Seq: seq, ID: id(seq)})
}

func (t *tape) receipt(delivered, read int64) {
	t.add(history.Event{Kind: history.Receipt, User: "alice", Device: "phone", Conn: 1, Chat: chat, Member: "bob", Delivered: delivered, ReadUpTo: read})
}

func (t *tape) read(seq int64) {
	t.add(history.Event{Kind: history.Read, User: "bob", Device: "phone", Conn: 1, Chat: chat, Seq: seq})
}

func (t *tape) end(kind history.Kind, user, device string, conn int) {
	t.add(history.Event{Kind: kind, User: user, Device: device, Conn: conn})
}

// good is two messages and an answer, all in order.
func good() *tape {
	t := new(tape)
	t.send("alice", "phone", "m1")
	t.send("alice", "phone", "m2")
	t.ack("alice", "phone", "m1", 1)
	t.take("bob", "phone", "alice", "m1", 1)
	t.receipt(1, 0)
	t.ack("alice", "phone", "m2", 2)
	t.take("alice", "tab", "alice", "m1", 1)
	t.take("bob", "phone", "alice", "m2", 2)
	t.take("alice", "tab", "alice", "m2", 2)
	t.read(2)
	t.receipt(2, 2)
	t.send("bob", "phone", "m3")
	t.ack("bob", "phone", "m3", 3)
	t.take("alice", "phone", "bob", "m3", 3)
	t.take("alice", "tab", "bob", "m3", 3)
	t.receipt(3, 2)
	return t
}

func (t *tape) closeLog() *tape {
	t.entry("alice", "m1", 1)
	t.entry("alice", "m2", 2)
	t.entry("bob", "m3", 3)
	return t
}

// drop removes the events that match.
func (t *tape) drop(match func(history.Event) bool) {
	t.events = slices.DeleteFunc(t.events, match)
}

func check(t *testing.T, record *tape) []history.Violation {
	t.Helper()
	return history.Check(record.events, setting)
}

func TestGoodHistoriesPass(t *testing.T) {
	cases := map[string]func() *tape{
		"calm": func() *tape { return good().closeLog() },
		"resend after a lost ack gets the same seq": func() *tape {
			r := good()
			r.send("alice", "phone", "m2")
			r.ack("alice", "phone", "m2", 2)
			return r.closeLog()
		},
		"unacked delivery comes again": func() *tape {
			r := good()
			r.drop(func(e history.Event) bool { return e.Kind == history.Acked && e.Device == "tab" && e.Seq == 3 })
			r.end(history.Cut, "alice", "tab", 1)
			r.wait(time.Hour)
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			r.acked("alice", "tab", 2, 3)
			return r.closeLog()
		},
		"acked just before a crash comes again": func() *tape {
			r := good()
			r.wait(200 * time.Millisecond)
			r.add(history.Event{Kind: history.Crash})
			r.wait(time.Minute)
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			r.acked("alice", "tab", 2, 3)
			return r.closeLog()
		},
		"acked when the server was dead comes again": func() *tape {
			r := good()
			r.events = slices.Insert(r.events, 0, history.Event{Kind: history.Connect, User: "alice", Device: "tab", Conn: 1})
			at := slices.IndexFunc(r.events, func(e history.Event) bool {
				return e.Kind == history.Acked && e.Device == "tab" && e.Seq == 3
			})
			r.events = slices.Insert(r.events, at, history.Event{Kind: history.Crash, At: r.events[at].At})
			r.end(history.Cut, "alice", "tab", 1)
			r.wait(time.Minute)
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			r.acked("alice", "tab", 2, 3)
			return r.closeLog()
		},
		"acked just before a cut comes again": func() *tape {
			r := good()
			r.end(history.Cut, "alice", "tab", 1)
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			return r.closeLog()
		},
		"not acked and not stored": func() *tape {
			r := good()
			r.send("bob", "phone", "m4")
			return r.closeLog()
		},
		"not acked but stored, refused and then accepted": func() *tape {
			r := good()
			r.send("bob", "phone", "m4")
			r.add(history.Event{Kind: history.Refused, User: "bob", Device: "phone", Conn: 1, Chat: chat, Msg: "m4"})
			r.send("bob", "phone", "m4")
			r.ack("bob", "phone", "m4", 4)
			r.take("alice", "phone", "bob", "m4", 4)
			r.take("alice", "tab", "bob", "m4", 4)
			r.closeLog().entry("bob", "m4", 4)
			return r
		},
		"MQTT 3.1.1 acks name no seq": func() *tape {
			r := good()
			for i := range r.events {
				if e := &r.events[i]; e.Kind == history.Ack {
					e.Seq, e.ID = 0, ""
				}
			}
			return r.closeLog()
		},
	}
	for name, record := range cases {
		t.Run(name, func(t *testing.T) {
			for _, v := range check(t, record()) {
				t.Error(v)
			}
		})
	}
}

// TestEachViolationIsFound has a bad history for each way to break a promise. Only the wanted rule may be reported.
func TestEachViolationIsFound(t *testing.T) {
	cases := map[string]struct {
		rule, text string
		spoil      func() *tape
	}{
		"acked and nowhere": {"I1", "is in no log", func() *tape {
			r := good()
			r.send("bob", "phone", "m4")
			r.ack("bob", "phone", "m4", 0)
			return r.closeLog()
		}},
		"acked and not in the log": {"I1", "not in the log", func() *tape {
			r := good().closeLog()
			r.send("bob", "phone", "m4")
			r.ack("bob", "phone", "m4", 4)
			r.take("alice", "phone", "bob", "m4", 4)
			r.take("alice", "tab", "bob", "m4", 4)
			return r
		}},
		"one device never got it": {"I1", "alice tab never acked alice+bob 3", func() *tape {
			r := good()
			r.drop(func(e history.Event) bool { return e.Device == "tab" && e.Seq == 3 })
			return r.closeLog()
		}},
		"not again after a lost ack": {"I1", "bob phone never acked alice+bob 2", func() *tape {
			r := good()
			r.drop(func(e history.Event) bool {
				return e.User == "bob" && e.Kind == history.Acked && e.Seq == 2 || e.Kind == history.Receipt
			})
			return r.closeLog()
		}},
		"system entry missed": {"I1", "bob phone never acked alice+bob 4", func() *tape {
			r := good().closeLog()
			r.entry("alice", "", 4)
			return r
		}},
		"ack for nothing": {"I1", "never sent", func() *tape {
			r := good()
			r.ack("alice", "phone", "m9", 0)
			return r.closeLog()
		}},
		"hole in the log": {"I2", "has no entry 2", func() *tape {
			r := good().closeLog()
			r.drop(func(e history.Event) bool { return e.Seq == 2 && e.Kind != history.Read || e.Msg == "m2" })
			r.drop(func(e history.Event) bool { return e.Kind == history.Receipt || e.Kind == history.Read })
			return r
		}},
		"seq used twice": {"I2", "is two entries", func() *tape {
			r := good().closeLog()
			r.deliver("alice", "tab", 1, "bob", "", 4)
			r.entry("bob", "", 4)
			r.events[len(r.events)-1].ID = "other"
			return r
		}},
		"phantom": {"I2", "never sent there", func() *tape {
			r := good()
			r.take("alice", "phone", "bob", "m9", 4)
			r.take("alice", "tab", "bob", "m9", 4)
			r.closeLog().entry("bob", "m9", 4)
			return r
		}},
		"wrong author": {"I2", "never sent there", func() *tape {
			r := good()
			r.send("bob", "phone", "m4")
			r.closeLog().entry("alice", "m4", 4)
			return r
		}},
		"beyond the head": {"I2", "beyond the log's head", func() *tape {
			r := good().closeLog()
			r.send("bob", "phone", "m4")
			r.take("alice", "phone", "bob", "m4", 4)
			return r
		}},
		"sent order turned round": {"I2", "before what stands ahead", func() *tape {
			r := new(tape)
			r.send("bob", "phone", "m2")
			r.send("bob", "phone", "m1")
			r.entry("bob", "m1", 1)
			r.entry("bob", "m2", 2)
			return r
		}},
		"message twice in the log": {"I3", "has the seqs [3 4]", func() *tape {
			r := good()
			r.send("bob", "phone", "m3")
			r.take("alice", "phone", "bob", "m3", 4)
			r.take("alice", "tab", "bob", "m3", 4)
			r.closeLog().entry("bob", "m3", 4)
			return r
		}},
		"resend told another seq": {"I3", "got seq 3 and then 4", func() *tape {
			r := good()
			r.send("bob", "phone", "m3")
			r.ack("bob", "phone", "m3", 4)
			r.take("alice", "phone", "bob", "m3", 4)
			r.take("alice", "tab", "bob", "m3", 4)
			r.closeLog().entry("bob", "m3", 4)
			return r
		}},
		"descending on a connection": {"I4", "after 3 on one connection", func() *tape {
			r := good()
			r.deliver("alice", "tab", 1, "alice", "m2", 2)
			return r.closeLog()
		}},
		"new entry behind a later one": {"I4", "2 for the first time after 3", func() *tape {
			r := good()
			r.drop(func(e history.Event) bool {
				return e.Device == "tab" && e.Seq == 2 && (e.Kind == history.Deliver || e.Kind == history.Acked)
			})
			r.end(history.Close, "alice", "tab", 1)
			r.deliver("alice", "tab", 2, "alice", "m2", 2)
			r.acked("alice", "tab", 2, 2)
			return r.closeLog()
		}},
		"again after DISCONNECT": {"I4", "after its PUBACK", func() *tape {
			r := good()
			r.end(history.Close, "alice", "tab", 1)
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			return r.closeLog()
		}},
		"again long after a cut": {"I4", "after its PUBACK", func() *tape {
			r := good()
			r.wait(time.Second)
			r.end(history.Cut, "alice", "tab", 1)
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			return r.closeLog()
		}},
		"again after a crash much later": {"I4", "after its PUBACK", func() *tape {
			r := good()
			r.wait(time.Second)
			r.add(history.Event{Kind: history.Crash})
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			return r.closeLog()
		}},
		"again after a crash before the connection": {"I4", "after its PUBACK", func() *tape {
			r := good()
			r.events = slices.Insert(r.events, 0, history.Event{Kind: history.Crash}, history.Event{Kind: history.Connect, User: "alice", Device: "tab", Conn: 1})
			r.wait(time.Second)
			r.end(history.Cut, "alice", "tab", 1)
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			return r.closeLog()
		}},
		"again without DUP": {"I4", "without DUP", func() *tape {
			r := good()
			r.add(history.Event{Kind: history.Crash})
			r.deliver("alice", "tab", 2, "bob", "m3", 3)
			r.events[len(r.events)-1].Dup = false
			return r.closeLog()
		}},
		"own message": {"I4", "got its own message", func() *tape {
			r := good()
			r.take("bob", "phone", "bob", "m3", 3)
			return r.closeLog()
		}},
		"delivered goes back": {"I5", "go back", func() *tape {
			r := good()
			r.receipt(2, 2)
			return r.closeLog()
		}},
		"read goes back": {"I5", "go back", func() *tape {
			r := good()
			r.receipt(3, 1)
			return r.closeLog()
		}},
		"delivered before the ack": {"I5", "acked up to 1 and read was 0", func() *tape {
			r := new(tape)
			r.send("alice", "phone", "m1")
			r.take("bob", "phone", "alice", "m1", 1)
			r.deliver("bob", "phone", 1, "alice", "m2", 2)
			r.receipt(2, 0)
			r.drop(func(e history.Event) bool { return e.Msg == "m2" })
			return r
		}},
		"delivered over a gap": {"I5", "acked up to 0", func() *tape {
			r := new(tape)
			r.acked("bob", "phone", 1, 2)
			r.receipt(2, 0)
			return r
		}},
		"read more than said": {"I5", "said was 2", func() *tape {
			r := good()
			r.receipt(3, 3)
			return r.closeLog()
		}},
		"refused but stored": {"I8", "was refused but is entry 4", func() *tape {
			r := good()
			r.send("bob", "phone", "m4")
			r.add(history.Event{Kind: history.Refused, User: "bob", Device: "phone", Conn: 1, Chat: chat, Msg: "m4"})
			r.closeLog().entry("bob", "m4", 4)
			return r
		}},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			found := check(t, tt.spoil())
			hit := slices.ContainsFunc(found, func(v history.Violation) bool {
				return v.Rule == tt.rule && strings.Contains(v.Text, tt.text)
			})
			if !hit {
				t.Errorf("no %s with %q among %v", tt.rule, tt.text, found)
			}
		})
	}
}

func TestRecorderKeepsOrder(t *testing.T) {
	r := history.New()
	done := make(chan bool)
	for range 4 {
		go func() {
			for range 250 {
				r.Add(history.Event{Kind: history.Send})
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
	events := r.Events()
	if len(events) != 1000 || r.Len() != 1000 {
		t.Fatalf("%d events", len(events))
	}
	if !slices.IsSortedFunc(events, func(a, b history.Event) int { return int(a.At - b.At) }) {
		t.Error("times are not in order")
	}
}
