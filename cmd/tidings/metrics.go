package main

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tidings/storage/pebble"
)

// metrics returns the handler of /metrics: the counters that the parts keep
// themselves, read at each request, and those of the Go runtime and the process.
func (s *server) metrics() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{s},
	)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// collector reads the parts' counters.
type collector struct{ s *server }

// Describe says nothing in advance: which label values there are shows only when
// it is asked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	g := gauges{out}
	g.gauge("tidings_build_info", "Constant 1, with the version.", 1, "version", version)
	c.engine(g)
	c.carrier(g)
	c.storage(g)
	c.plugins(g)
}

// gauges makes metrics of the moment.
type gauges struct{ out chan<- prometheus.Metric }

func (g gauges) emit(kind prometheus.ValueType, name, help string, value float64, label string, labelled string) {
	var names, values []string
	if label != "" {
		names, values = []string{label}, []string{labelled}
	}
	g.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
}

func (g gauges) gauge(name, help string, value float64, labels ...string) {
	label, labelled := pair(labels)
	g.emit(prometheus.GaugeValue, name, help, value, label, labelled)
}

func (g gauges) counter(name, help string, value uint64, labels ...string) {
	label, labelled := pair(labels)
	g.emit(prometheus.CounterValue, name, help, float64(value), label, labelled)
}

func (g gauges) latency(name, help string, l pebble.Latency) {
	within := make(map[float64]uint64, len(l.Within))
	for bound, n := range l.Within {
		within[bound.Seconds()] = n
	}
	g.out <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name, help, nil, nil), l.Count, l.Sum.Seconds(), within)
}

// one is 1 for true.
func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func pair(labels []string) (label, value string) {
	if len(labels) == 0 {
		return "", ""
	}
	return labels[0], labels[1]
}

func (c collector) engine(g gauges) {
	st := c.s.engine.Stats()
	users, sessions := c.s.engine.Live()
	g.gauge("tidings_users_online", "Users with at least one session.", float64(users))
	g.gauge("tidings_sessions", "Sessions that are connected.", float64(sessions))
	g.counter("tidings_messages_stored_total", "Messages appended to the logs.", st.Stored.Load())
	g.counter("tidings_messages_duplicate_total", "Publishes answered with an earlier message.", st.Duplicates.Load())
	g.counter("tidings_publishes_refused_total", "Publishes refused.", st.Refused.Load())
	g.counter("tidings_commits_total", "Batches made durable.", st.Batches.Load())
	g.counter("tidings_deliveries_total", "Entries sent to devices.", st.Deliveries.Load())
	g.counter("tidings_deliveries_cut_total", "Entries sent without body, being larger than the device takes.", st.Cut.Load())
	g.counter("tidings_deliveries_skipped_total", "Entries passed over, being larger than the device takes even without body.", st.TooLarge.Load())
	g.counter("tidings_acks_unknown_total", "Acknowledgements of what the connection was not sent.", st.UnknownAcks.Load())
	g.counter("tidings_live_dropped_total", "Receipts, typing, presence and the like dropped for lack of room.", st.LiveDrops.Load())
	g.counter("tidings_guest_dropped_total", "Entries that a guest was too slow for.", st.GuestDrops.Load())
	g.counter("tidings_queue_messages_total", "Messages on open topics put into the queues of persistent sessions.", st.Queued.Load())
	g.counter("tidings_queue_dropped_total", "Messages on open topics given up since a queue was full.", st.QueueDropped.Load())
	g.counter("tidings_queue_refused_total", "Publishes on open topics refused since a queue was full.", st.QueueRefused.Load())
	g.counter("tidings_open_dropped_total", "Messages on open topics dropped at QoS 0 for lack of room.", st.OpenDrops.Load())
	subscribers, retained := c.s.engine.OpenTopics()
	g.gauge("tidings_open_subscribers", "Persistent sessions with subscriptions to open topics, connected or not.", float64(subscribers))
	g.gauge("tidings_retained_messages", "Retained messages.", float64(retained))
	g.counter("tidings_messages_swept_total", "Messages whose content retention has removed.", st.Swept.Load())
}

func (c collector) carrier(g gauges) {
	st := c.s.broker.Stats()
	g.gauge("tidings_connections", "Network connections.", float64(st.Connections))
	g.gauge("tidings_connections_unauthenticated", "Network connections without a login yet.", float64(st.Unauthenticated))
	g.counter("tidings_connections_accepted_total", "Network connections accepted.", st.Accepted)
	g.counter("tidings_accept_errors_total", "Failures to accept a connection.", st.AcceptErrors)
	for reason, n := range st.Refused {
		g.counter("tidings_connections_refused_total", "Connections and logins refused.", n, "reason", reason)
	}
	for reason, n := range st.Closed {
		g.counter("tidings_connections_closed_total", "Ends of connections.", n, "reason", reason)
	}
	for i, name := range packetNames {
		if name == "" {
			continue
		}
		g.counter("tidings_packets_received_total", "MQTT packets received.", st.PacketsIn[i], "type", name)
		g.counter("tidings_packets_sent_total", "MQTT packets sent.", st.PacketsOut[i], "type", name)
	}
	g.counter("tidings_bytes_received_total", "Bytes of MQTT received.", st.BytesIn)
	g.counter("tidings_bytes_sent_total", "Bytes of MQTT sent.", st.BytesOut)
	g.counter("tidings_operations_total", "Operations asked for on rpc topics.", st.Calls)
	g.counter("tidings_answers_dropped_total", "Answers on sent and rpc topics dropped for lack of room.", st.CutLive)
	g.counter("tidings_wills_sent_total", "Will messages stored.", st.WillsSent)
	g.counter("tidings_wills_refused_total", "Will messages refused.", st.WillsRefused)
	g.counter("tidings_wills_hurried_total", "Will messages sent without their delay, since too many were waiting.", st.WillsHurried)
	g.counter("tidings_acks_stray_total", "Acknowledgements without a delivery.", st.StrayAcks)
	g.counter("tidings_panics_total", "Panics caught while serving one connection.", st.Panics)
}

// packetNames are MQTT's control packet types by number.
var packetNames = [16]string{
	1: "CONNECT", 2: "CONNACK", 3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP", 8: "SUBSCRIBE",
	9: "SUBACK", 10: "UNSUBSCRIBE", 11: "UNSUBACK", 12: "PINGREQ", 13: "PINGRESP", 14: "DISCONNECT", 15: "AUTH",
}

func (c collector) storage(g gauges) {
	health := c.s.store.Health()
	g.gauge("tidings_store_writable", "1 while the store takes messages.", one(health == nil))
	g.gauge("tidings_store_stalled", "1 while writes wait for a disk that does not answer.", one(errors.Is(health, pebble.ErrStalled)))
	m := c.s.store.Metrics()
	g.latency("tidings_commit_seconds", "Time until a batch was durable.", m.Commits)
	for _, v := range []struct {
		name, help string
		value      float64
	}{
		{"tidings_store_disk_bytes", "Files of the store.", float64(m.Disk)},
		{"tidings_store_wal_bytes", "Live write-ahead logs of the store.", float64(m.WAL)},
		{"tidings_store_memtable_bytes", "Write buffers of the store.", float64(m.MemTable)},
		{"tidings_store_debt_bytes", "What compactions of the store still have to copy.", float64(m.Debt)},
		{"tidings_store_garbage_bytes", "Removed content that is still on disk.", float64(m.Garbage)},
		{"tidings_store_free_bytes", "Free space of the store's file system.", float64(m.Free)},
		{"tidings_store_reserve_bytes", "Free space below which messages are refused.", float64(m.Reserve)},
	} {
		g.gauge(v.name, v.help, v.value)
	}
}

func (c collector) plugins(g gauges) {
	for name, n := range c.s.parts.plugins.Panics() {
		g.counter("tidings_plugin_panics_total", "Panics of plugins.", n, "plugin", name)
	}
	a := c.s.auth.Stats()
	for outcome, n := range map[string]uint64{
		"token": a.Tokens, "password": a.Passwords, "remembered": a.Remembered, "scram": a.Exchanges,
		"refused": a.Refused, "throttled": a.Throttled, "busy": a.Busy, "unavailable": a.Unavailable, "paced": c.s.logins.Refused(),
	} {
		g.counter("tidings_logins_total", "Logins by what became of them.", n, "outcome", outcome)
	}
	if c.s.limits != nil {
		l := c.s.limits.Stats()
		g.counter("tidings_limited_total", "Publishes over a rate limit.", l.RefusedDevice, "of", "device")
		g.counter("tidings_limited_total", "Publishes over a rate limit.", l.RefusedUser, "of", "user")
	}
}
