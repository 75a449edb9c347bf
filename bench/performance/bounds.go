package main

import (
	"fmt"
	"math"
)

// bounds are sentences about what holds each figure where it is. They say what was measured in the same run: how much of the
// machine was busy, what the CPU did, how long the disk took. Where that does not explain a figure they say so.
func (d *data) bounds() []string {
	var said []string
	add := func(figure, text string) {
		if text != "" {
			said = append(said, "**"+figure+".** "+text)
		}
	}
	add("1:1 throughput, CPU per message", d.busySentence("chat", "saturated.", "saturated.messages"))
	add("Latency at 2,000/s", d.latencySentence())
	add("Group deliveries", d.busySentence("group", "saturated.", "saturated.messages"))
	add("Last of 500", d.lastSentence())
	add("Offline inboxes", d.busySentence("offline", "", "messages"))
	add("Drain", d.busySentence("drain", "", "messages"))
	add("Memory per waiting message", d.waitingSentence())
	add("Memory per idle connection", d.idleSentence())
	add("Reconnects", d.busySentence("reconnect", "", "reconnects"))
	add("Ready after kill -9", d.readySentence())
	add("Kill -9", d.crashSentence())
	add("Overload", d.overSentence())
	return said
}

// busySentence tells whether the CPU bounds a phase.
func (d *data) busySentence(step, phase, rate string) string {
	s := d.step(step)
	cores, server, ok := s.busy(phase, rate)
	idle, known := s.median("tidings", phase+"machine_idle")
	if !ok || !known {
		return ""
	}
	text := fmt.Sprintf("Server and load together used %.2f of %d cores, the server %.2f of these, and the machine was idle for %.0f %% of the time",
		cores, d.Machine.Cores, server, idle)
	switch {
	case idle <= 10:
		text += ": the CPU bounds it"
	case idle <= 30:
		text += ": mostly the CPU bounds it; for the rest server and load waited, for one another or for the disk"
	default:
		text += ": the CPU does not bound it; server and load waited, for one another or for the disk"
	}
	if others := float64(d.Machine.Cores)*(1-idle/100) - cores; others > 0.2 {
		text += fmt.Sprintf(". Other programs and the system used %.2f cores meanwhile, which the figure suffers from", others)
	}
	return text + "." + s.shares()
}

func (d *data) latencySentence() string {
	s := d.step("paced")
	p50, ok := s.median("tidings", "paced.receive_p50")
	late, known := s.median("tidings", "paced.sent_late_p99")
	f := d.Machine.Disk.Fsync
	if !ok || !known || f.P50 == 0 {
		return ""
	}
	cores, _, _ := s.busy("paced.", "paced.messages")
	return fmt.Sprintf("A message waits for one sync of the log before it is delivered. On this disk appending 4 KiB and syncing takes %s ms (p50) "+
		"and %s ms (p99) by itself: %.0f %% of the p50 of %s ms. Server and load used %.2f of %d cores; the load program "+
		"itself was late by %s ms (p99), which is in all servers' figures.%s", number(f.P50), number(f.P99), 100*min(1, f.P50/p50), number(p50),
		cores, d.Machine.Cores, number(late), s.shares())
}

func (d *data) lastSentence() string {
	s := d.step("last")
	v, ok := s.median("tidings", "paced.last_receiver_p50")
	server, known := s.median("tidings", "paced.server_cpu")
	load, alsoKnown := s.median("tidings", "paced.load_cpu")
	if !ok || !known || !alsoKnown {
		return ""
	}
	return fmt.Sprintf("One message to 500 members costs the server %s ms of CPU time and the load program %s ms, with the members' "+
		"acknowledgements; spread over %d cores that is %s ms, against %s ms until the last has it.%s", number(server/1000),
		number(load/1000), d.Machine.Cores, number((server+load)/1000/float64(d.Machine.Cores)), number(v), s.shares())
}

func (d *data) waitingSentence() string {
	s := d.step("waiting")
	slope, ok := s.median("tidings", "slope")
	first, known := s.median("tidings", "rss_growth_20")
	if !ok || !known {
		return ""
	}
	return fmt.Sprintf("The first fifth of the messages made the server grow by %s MiB, what came after it by %s B a message. "+
		"The store's write buffer and caches have fixed sizes and are touched in the first part.", number(first), number(slope))
}

func (d *data) idleSentence() string {
	s, web := d.step("idle"), d.step("idle-web")
	heap, ok := s.median("tidings", "heap_per_connection")
	stack, known := s.median("tidings", "stack_per_connection")
	if !ok || !known {
		return ""
	}
	text := fmt.Sprintf("On plain TCP, %s KiB are heap in use (with what the collector has not freed yet) and %s KiB stacks", number(heap), number(math.Max(0, stack)))
	if heap, ok := web.median("tidings", "heap_per_connection"); ok {
		stack, _ := web.median("tidings", "stack_per_connection")
		n, _ := web.median("tidings", "goroutines_per_connection")
		text += fmt.Sprintf("; over WebSocket, with %s goroutines per connection, %s KiB and %s KiB", number(n), number(heap), number(math.Max(0, stack)))
	}
	return text + "."
}

func (d *data) readySentence() string {
	s := d.step("stored-1000000")
	ready, ok := s.median("tidings", "ready")
	cpu, known := s.median("tidings", "ready_cpu")
	if !ok || !known {
		return ""
	}
	return fmt.Sprintf("Of %s ms from the start of the process until it says that it is ready, it computed for %s ms (on up to %d cores); the "+
		"question is asked every 5 ms.", number(ready), number(cpu), d.Machine.Cores)
}

func (d *data) crashSentence() string {
	s := d.step("crash")
	oldest, ok := s.median("tidings", "oldest_duplicate")
	if !ok {
		return ""
	}
	ready, _ := s.median("tidings", "ready_p50")
	return fmt.Sprintf("What comes again is what devices acknowledged after the last time that cursors were written, which happens every "+
		"200 ms; the oldest of it had come %s ms before the kill. The server was ready again after %s ms (p50).", number(oldest), number(ready))
}

func (d *data) overSentence() string {
	s := d.step("overload")
	rate, ok := s.median("tidings", "sustainable")
	offered, known := s.median("tidings", "overload.offered")
	skipped, alsoKnown := s.median("tidings", "overload.skipped")
	if !ok || !known || !alsoKnown {
		return ""
	}
	return fmt.Sprintf("%s/s were sustained, with the load on the same cores. When %s/s were offered, clients could not send %s messages, "+
		"having %d in flight already: that, and TCP, is the backpressure. The light users are a process of their own and compete "+
		"with server and load for the CPU.%s", number(rate), number(offered), number(skipped), maxInFlight, s.shares())
}
