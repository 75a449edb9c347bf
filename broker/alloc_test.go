package broker_test

import (
	"io"
	"net"
	"testing"

	"tidings/broker"
	"tidings/delivery"
	"tidings/internal/mqttest"
)

// TestHotPathsDoNotAllocate covers PUBLISH and PUBACK on the way in, and their
// counterparts on the way out.
func TestHotPathsDoNotAllocate(t *testing.T) {
	if raceDetector {
		t.Log("pools lose buffers on purpose under the race detector: what they lend is not counted")
	}
	for _, version := range []byte{mqttest.V311, mqttest.V5} {
		in := broker.NewInputForTest(t, version)
		publish := mqttest.AppendPublish(nil, version, &mqttest.Publish{Topic: "u/bob", Payload: make([]byte, 200), QoS: 1, ID: 7})
		puback := mqttest.AppendAck(nil, version, mqttest.PUBACK, 7, 0)
		d := delivery.Delivery{Topic: []byte("u/bob"), ReplyTo: []byte("u/alice"), Payload: make([]byte, 300), Tag: 9, QoS: 1, Filters: []uint32{1, 300}, Expiry: 60}
		accepted := delivery.Answer{PacketID: 7, QoS: 1, Seq: 1 << 40, Time: 1700000000000, Chat: []byte("u/bob"), CID: []byte("c"), Sent: &delivery.Want{}}
		refused := delivery.Answer{PacketID: 7, QoS: 1, Refusal: &delivery.Refusal{Code: delivery.CodeNotAllowed, Message: "no"}}
		pubrec := mqttest.AppendAck(nil, version, mqttest.PUBREC, 7, 0)
		pubcomp := mqttest.AppendAck(nil, version, mqttest.PUBCOMP, 7, 0)
		open := mqttest.AppendPublish(nil, version, &mqttest.Publish{
			Topic: "open/some/topic", Payload: make([]byte, 200), QoS: 1, ID: 7, Retain: true,
			Props: (&mqttest.Properties{}).SetNumber(mqttest.PropMessageExpiry, 60).AddUser("k", "v"),
		})
		opened := delivery.Delivery{Topic: []byte("open/some/topic"), Payload: make([]byte, 300), Tag: 9, QoS: 2, Props: []byte("\x26\x00\x01k\x00\x01v"), Expiry: 60}
		for name, f := range map[string]func(){
			"PUBLISH in":  func() { in.Input(publish) },
			"PUBACK in":   func() { in.Input(puback) },
			"PUBLISH out": func() { in.Link().Deliver(&d) },
			"PUBACK out":  func() { in.Link().Answer(&accepted) },
			"refusal out": func() { in.Link().Answer(&refused) },
			"PUBREC in":   func() { in.Input(pubrec) },
			"PUBCOMP in":  func() { in.Input(pubcomp) },
			"open in":     func() { in.Input(open) },
			"open out":    func() { in.Link().Deliver(&opened) },
			"PUBREL out":  func() { in.Link().Release(9) },
		} {
			f()
			in.Discard()
			n := testing.AllocsPerRun(200, func() {
				f()
				in.Discard()
			})
			if n > 0 && !raceDetector {
				t.Errorf("MQTT level %d, %s: %v allocations", version, name, n)
			}
		}
	}
}

func BenchmarkPublishIn(b *testing.B) {
	in := broker.NewInputForTest(b, mqttest.V5)
	var batch []byte
	const each = 100
	for i := range each {
		batch = mqttest.AppendPublish(batch, mqttest.V5, &mqttest.Publish{Topic: "u/bob", Payload: make([]byte, 200), QoS: 1, ID: uint16(i + 1)})
	}
	b.ReportAllocs()
	for b.Loop() {
		in.Input(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*each), "ns/publish")
}

// BenchmarkEcho sends publishes through a socket and gets them back acknowledged,
// with the fake engine in between.
func BenchmarkEcho(b *testing.B) {
	for _, portable := range []bool{false, true} {
		name := map[bool]string{false: "native", true: "goroutine"}[portable]
		b.Run(name, func(b *testing.B) {
			s, err := broker.NewForTest(broker.Config{Portable: portable}, newFakeEngine(), nil)
			if err != nil {
				b.Fatal(err)
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- s.ServeTCP(ln) }()
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			c.Write(mqttest.AppendConnect(nil, &mqttest.Options{Version: mqttest.V311, ClientID: "c", User: "a", Password: "a", Clean: true}))
			io.ReadFull(c, make([]byte, 4))
			var batch []byte
			const each = 100
			for i := range each {
				batch = mqttest.AppendPublish(batch, mqttest.V311, &mqttest.Publish{Topic: "u/b", Payload: make([]byte, 200), QoS: 1, ID: uint16(i + 1)})
			}
			acks := make([]byte, 4*each)
			for b.Loop() {
				c.Write(batch)
				if _, err := io.ReadFull(c, acks); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*each), "ns/publish")
			c.Close()
			s.Shutdown(b.Context())
			<-done
		})
	}
}
