package opencrash_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings/internal/crashtest"
	"tidings/internal/mqttest"
)

// comeToRest ends the load and waits until everybody has what was acknowledged. If that does not come, judge says what is
// missing.
func (w *world) comeToRest() {
	w.t.Helper()
	w.load.Store(false)
	w.rough.Store(false)
	for _, last := range []bool{false, true} { // in front of the last message of each publisher comes what nobody expects
		w.last.Store(last)
		if !crashtest.Await(w.t.Context(), 30*time.Second, func() bool { return w.allComplete(last) }) {
			w.t.Error("publishes are not complete 30 s after the last kill")
		}
		if !crashtest.Await(w.t.Context(), 30*time.Second, w.allTaken) {
			w.t.Error("deliveries are not complete")
		}
	}
}

func (w *world) allComplete(last bool) bool {
	for _, p := range w.pubs {
		if last && !p.done.Load() || p.open.Load() > 0 {
			return false
		}
	}
	return true
}

// allTaken tells whether all subscribers have got as many messages as they should. All publishes are complete.
func (w *world) allTaken() bool {
	for _, s := range w.subs {
		want, got, newest := 0, int64(0), 0
		for _, p := range w.pubs {
			for _, m := range p.all {
				if _, wanted := s.wants(m); wanted && m.state == accepted && !denied(m.topic) {
					want, newest = want+1, m.n
				}
			}
		}
		for _, m := range w.together(s) {
			got += m.distinct.Load()
		}
		if s == w.absent && !w.refuses {
			if s.latest.Load() < int64(newest) {
				return false
			}
		} else if got < int64(want) {
			return false
		}
	}
	return true
}

// judge holds what the subscribers got against what the publishers know.
func (w *world) judge() {
	w.t.Helper()
	total := 0
	for _, p := range w.pubs {
		for _, m := range p.all {
			total++
			if m.state == unsure {
				w.wrong("%s %d: neither acknowledged nor refused", p.c.name, m.n)
			}
			for _, s := range w.subs {
				w.judgeOne(p, m, s)
			}
		}
	}
	w.t.Logf("%d messages, %d events, %d connections", total, len(w.rec.events), w.connections())
}

func (w *world) judgeOne(p *publisher, m *message, s *subscriber) {
	qos, wanted := s.wants(m)
	times, fresh, most := 0, 0, 0
	for _, one := range w.together(s) {
		if a := one.taken[named{p.c.name, m.n}]; a != nil {
			if a.behind > 0 && m.sends == 1 {
				w.wrong("%s has %s %d (QoS %d) behind %d", one.c.name, p.c.name, m.n, m.qos, a.behind)
			}
			times, fresh, most = times+a.times, fresh+a.fresh, max(most, a.most)
		}
	}
	switch {
	case times > 0 && (!wanted || denied(m.topic)):
		w.wrong("%s has %s %d on %s, which is not for it", s.c.name, p.c.name, m.n, m.topic)
	case times > 0 && m.state == rejected && (m.qos == 2 || m.sends == 1):
		w.wrong("%s has %s %d (QoS %d), which was refused", s.c.name, p.c.name, m.n, m.qos)
	case !wanted || denied(m.topic) || m.state != accepted:
	case times == 0 && (s != w.absent || w.refuses):
		w.wrong("%s does not have %s %d (%s, QoS %d), which was acknowledged; it has%s",
			s.c.name, p.c.name, m.n, m.topic, m.qos, s.highs())
	case times > 1 && qos == 2:
		w.wrong("%s has %s %d (QoS 2) %d times", s.c.name, p.c.name, m.n, times)
	case fresh > m.sends || m.qos == 2 && fresh > 1:
		w.wrong("%s has %s %d (QoS %d) %d times without DUP, but it was published %d times", s.c.name, p.c.name, m.n, m.qos, fresh, m.sends)
	case most > m.sends:
		w.wrong("%s has %s %d (QoS %d) %d times on one connection, but it was published %d times", s.c.name, p.c.name, m.n, m.qos, most, m.sends)
	}
}

func (w *world) connections() int {
	n := 0
	for _, p := range w.pubs {
		n += p.c.conns
	}
	for _, s := range w.subs {
		n += s.c.conns
	}
	return n
}

// judgeRetained asks for the retained messages and compares them with those that were acknowledged last.
func (w *world) judgeRetained() {
	w.t.Helper()
	want := make(map[string]string)
	for _, p := range w.pubs {
		for _, m := range p.all {
			if m.retain && m.state == accepted {
				want[m.topic] = string(p.payload(m))
			}
		}
	}
	maps.DeleteFunc(want, func(_, payload string) bool { return payload == "" })
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	c, err := mqttest.Dial(ctx, mqttest.Options{Addr: w.open, ClientID: "looker", Clean: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Disconnect()
	if _, err := c.Subscribe(ctx, "open/all/#", "open/keep/#"); err != nil {
		w.t.Fatal(err)
	}
	const end = "open/keep/end" // what is sent there comes behind the retained messages
	got := make(map[string]string)
	for {
		m, err := c.Next(ctx)
		if err != nil {
			w.wrong("retained messages: %v; have %v, want %v", err, got, want)
			return
		}
		if string(m.Topic) == end {
			break
		}
		if !m.Retain {
			w.wrong("not retained: %s", m.Payload)
		}
		got[string(m.Topic)] = string(m.Payload)
		if len(got) == len(want) {
			if err := c.Publish(&mqttest.Publish{Topic: end, QoS: 1, ID: 1}); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if !maps.Equal(got, want) {
		for _, topic := range slices.Sorted(maps.Keys(want)) {
			w.wrong("retained on %s: %q, want %q", topic, got[topic], want[topic])
		}
		w.wrong("retained: %d topics, want %d: %s", len(got), len(want), strings.Join(slices.Sorted(maps.Keys(got)), " "))
	}
}
