package main

import (
	"fmt"
	"math"
	"strings"
)

// verdict says whether a bound is kept.
type verdict string

const (
	unknown verdict = "not measured"
	none    verdict = "–" // there is no bound
	yes     verdict = "yes"
	no      verdict = "**no**"
)

func keeps(ok bool) verdict {
	if ok {
		return yes
	}
	return no
}

// finding is one row of the table of figures.
type finding struct {
	figure       string
	must, target string
	measured     string
	mustMet      verdict
	targetMet    verdict
}

// bound is a limit on a ratio or on a value: at least it where more is better, at most it elsewhere.
type bound struct {
	must, target float64
	more         bool
}

func (b bound) judge(v float64) (must, target verdict) {
	return keeps(b.holds(v, b.must)), keeps(b.holds(v, b.target))
}

func (b bound) holds(v, limit float64) bool {
	if b.more {
		return v >= limit
	}
	return v <= limit
}

// findings are all rows, in the order of the document.
func (d *data) findings() []finding {
	return []finding{
		d.oneToOne(),
		d.ratio("server CPU per message at saturation", "chat", "saturated.server_cpu", "µs", bound{0.6, 0.4, false}),
		d.value("publish → receive at 2,000/s, p50", "paced", "paced.receive_p50", "ms", bound{1.0, 0.45, false}),
		d.difference("publish → receive at 2,000/s, p99", "paced.receive_p99"),
		d.difference("PUBACK at 2,000/s, p99", "paced.puback_p99"),
		d.ratio("group of 500, deliveries", "group", "saturated.deliveries", "/s", bound{2, 4, true}),
		d.ratio("last of 500 members at 10 messages/s, p50", "last", "paced.last_receiver_p50", "ms", bound{1.2, 1.0, false}),
		d.ratio("messages into offline inboxes", "offline", "messages", "/s", bound{2, 4, true}),
		d.ratio("drain of 50,000 by 500 returning devices", "drain", "messages", "/s", bound{2, 4, true}),
		d.value("resident memory per waiting message, slope from 200,000 to 1,000,000", "waiting", "slope", "B", bound{50, 0, false}),
		d.idle(),
		d.ratio("5,000 devices reconnect and subscribe, with token check", "reconnect", "time", "s", bound{0.6, 0.3, false}),
		d.lost(),
		d.duplicates(),
		d.value("ready after kill -9 with 1,000,000 stored", "stored-1000000", "ready", "ms", bound{1000, 300, false}),
		d.flat(),
		d.overThroughput(),
		d.overMemory(),
		d.overLight(),
	}
}

// missing is a row without a measurement.
func missing(figure, must, target string) finding {
	return finding{figure, must, target, "–", unknown, unknown}
}

// ratio compares a figure with bare mochi's in the same step.
func (d *data) ratio(figure, step, name, unit string, b bound) finding {
	s := d.step(step)
	f := missing(figure, fmt.Sprintf("%v × bare mochi", b.must), fmt.Sprintf("%v ×", b.target))
	v, ok := s.median("tidings", name)
	ref, known := s.median("mochi", name)
	if !ok || !known || ref == 0 {
		return f
	}
	f.measured = fmt.Sprintf("**%.2f ×** (%s against %s)", v/ref, s.spread("tidings", name, unit), s.spread("mochi", name, unit))
	if m, ok := s.median("mosquitto", name); ok && m != 0 {
		f.measured += fmt.Sprintf("; %.2f × mosquitto", v/m)
	}
	f.mustMet, f.targetMet = b.judge(v / ref)
	return f
}

// value is a figure with a bound of its own; the other servers' values stand beside it.
func (d *data) value(figure, step, name, unit string, b bound) finding {
	s := d.step(step)
	f := missing(figure, fmt.Sprintf("%v %s", b.must, unit), fmt.Sprintf("%v %s", b.target, unit))
	v, ok := s.median("tidings", name)
	if !ok {
		return f
	}
	f.measured = "**" + s.spread("tidings", name, unit) + "**" + s.beside(name, unit)
	f.mustMet, f.targetMet = b.judge(v)
	return f
}

// difference compares a latency with bare mochi's: at most 3 ms more, better 1.5.
func (d *data) difference(figure, name string) finding {
	s := d.step("paced")
	f := missing(figure, "bare mochi + 3 ms", "+ 1.5 ms")
	v, ok := s.median("tidings", name)
	ref, known := s.median("mochi", name)
	if !ok || !known {
		return f
	}
	f.measured = fmt.Sprintf("**%+.2f ms** (%s against %s)", v-ref, s.spread("tidings", name, "ms"), s.spread("mochi", name, "ms"))
	f.mustMet, f.targetMet = bound{3, 1.5, false}.judge(v - ref)
	return f
}

func (d *data) oneToOne() finding {
	const name = "saturated.messages"
	s := d.step("chat")
	f := missing("1:1, 200 users, 8 in flight each", "1.2 × mosquitto and 1.8 × bare mochi", "2 × mosquitto")
	v, ok := s.median("tidings", name)
	mosquitto, known := s.median("mosquitto", name)
	mochi, alsoKnown := s.median("mochi", name)
	if !ok || !known || !alsoKnown || mosquitto == 0 || mochi == 0 {
		return f
	}
	f.measured = fmt.Sprintf("**%.2f × mosquitto, %.2f × bare mochi** (%s against %s and %s)", v/mosquitto, v/mochi,
		s.spread("tidings", name, "/s"), s.spread("mosquitto", name, "/s"), s.spread("mochi", name, "/s"))
	f.mustMet = keeps(v >= 1.2*mosquitto && v >= 1.8*mochi)
	f.targetMet = keeps(v >= 2*mosquitto)
	return f
}

func (d *data) idle() finding {
	f := d.value("resident memory per idle connection, plain TCP", "idle", "per_connection", "KiB", bound{8, 3, false})
	if web := d.step("idle-web"); len(web.values("tidings", "per_connection")) > 0 {
		f.measured += "; over WebSocket " + web.spread("tidings", "per_connection", "KiB")
	}
	return f
}

func (d *data) lost() finding {
	s := d.step("crash")
	f := missing("acked and lost, kill -9 under full load", "0", "0")
	lost, ok := s.median("tidings", "lost")
	if !ok {
		return f
	}
	kills, _ := s.median("tidings", "kills")
	acked, _ := s.median("tidings", "acked")
	f.measured = fmt.Sprintf("**%s** of %s acked, over %s kills", number(lost), number(acked), number(kills))
	f.mustMet, f.targetMet = keeps(lost == 0), keeps(lost == 0)
	return f
}

func (d *data) duplicates() finding {
	s := d.step("crash")
	f := missing("what comes again after kill -9", "one cursor tick (≤ 200 ms)", "–")
	oldest, ok := s.median("tidings", "oldest_duplicate")
	if !ok {
		return f
	}
	p50, _ := s.median("tidings", "duplicates_per_kill_p50")
	most, _ := s.median("tidings", "duplicates_per_kill_max")
	f.measured = fmt.Sprintf("what had come in the last **%s ms**: %s messages per kill (p50), at most %s", number(oldest), number(p50), number(most))
	f.mustMet, f.targetMet = keeps(oldest <= 200), none
	return f
}

// grows is the growth in percent that counts as none: less than what the figure does by itself between two samples.
const grows = 5

func (d *data) flat() finding {
	s := d.step("flat")
	f := missing("growth over the flat load, last third against first", "none", "–")
	var parts []string
	worst := 0.0
	for _, name := range []string{"rss", "heap_least", "goroutines", "files"} {
		v, ok := s.median("tidings", name+"_growth")
		if !ok {
			return f
		}
		worst = max(worst, v)
		parts = append(parts, fmt.Sprintf("%s %+.1f %%", strings.ReplaceAll(name, "heap_least", "live heap"), v))
	}
	n, _ := s.median("tidings", "connections")
	f.measured = fmt.Sprintf("%s connections, %v: %s", number(n), s.Config.Duration, strings.Join(parts, ", "))
	f.mustMet, f.targetMet = keeps(worst <= grows), none
	return f
}

func (d *data) overThroughput() finding {
	s := d.step("overload")
	f := missing("throughput at twice the sustainable rate", "90 % of the peak", "–")
	v, ok := s.median("tidings", "overload.of_peak")
	if !ok {
		return f
	}
	f.measured = fmt.Sprintf("**%s %%** of the peak (taken %s, delivered %s, peak %s)", number(math.Round(v)),
		s.spread("tidings", "overload.taken", "/s"), s.spread("tidings", "overload.delivered", "/s"), s.spread("tidings", "peak", "/s"))
	f.mustMet, f.targetMet = keeps(v >= 90), none
	return f
}

func (d *data) overMemory() finding {
	s := d.step("overload")
	f := missing("memory at twice the sustainable rate", "bounded", "–")
	v, ok := s.median("tidings", "overload.rss_growth")
	if !ok {
		return f
	}
	f.measured = fmt.Sprintf("at most %s; %+.0f %% between the middle and the end of the phase", s.spread("tidings", "overload.rss_max", "MiB"), v)
	f.mustMet, f.targetMet = keeps(v <= grows), none
	return f
}

func (d *data) overLight() finding {
	s := d.step("overload")
	f := missing("latency of other users' light traffic then, p50", "10 × its calm value", "–")
	v, ok := s.median("tidings", "light.ratio_receive_p50")
	if !ok {
		return f
	}
	f.measured = fmt.Sprintf("**%s ×** (%s against %s)", number(v), s.spread("tidings", "light.overload_receive_p50", "ms"),
		s.spread("tidings", "light.calm_receive_p50", "ms"))
	f.mustMet, f.targetMet = keeps(v <= 10), none
	return f
}
