package broker

import (
	"context"
	"encoding/json"
	"time"

	"tidings/delivery"
)

// kept is what the carrier keeps with a session for the device's next connection
// and for the server's next start, as JSON.
type kept struct {
	Will *keptWill `json:"will,omitempty"`
}

type keptWill struct {
	Delay   uint32 `json:"delay,omitempty"`  // seconds, no longer than the session
	Expiry  uint32 `json:"expiry,omitempty"` // seconds
	QoS     byte   `json:"qos,omitempty"`
	Retain  bool   `json:"retain,omitempty"`
	Topic   string `json:"topic"`
	Payload []byte `json:"payload,omitempty"`
	Props   []byte `json:"props,omitempty"`
	Text    bool   `json:"text,omitempty"`
	CID     string `json:"cid"`
}

// keep returns what is to be kept of a connection with will w, nil for nothing.
// delay is the will's, cut to the end of the session.
func keep(w *will, delay uint32) []byte {
	if w == nil {
		return nil
	}
	b, err := json.Marshal(kept{&keptWill{
		Delay: delay, Expiry: w.expiry, QoS: w.qos, Retain: w.retain,
		Topic: w.topic, Payload: w.payload, Props: w.props, Text: w.text, CID: w.cid,
	}})
	if err != nil {
		return nil // there is nothing in it that JSON could not hold
	}
	return b
}

// readKept returns the will that keep has kept, nil if there is none.
func readKept(b []byte) (*will, error) {
	var k kept
	if len(b) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(b, &k); err != nil || k.Will == nil {
		return nil, err
	}
	w := k.Will
	return &will{
		delay: w.Delay, expiry: w.Expiry, qos: w.QoS, retain: w.Retain,
		topic: w.Topic, payload: w.Payload, props: w.Props, text: w.Text, cid: w.CID,
	}, nil
}

// resumeGrace is the least delay of wills that are taken up at a start: the
// devices had no chance to stay connected, and come back now. MQTT lets a server
// put off its wills over a restart.
const resumeGrace = 10 * time.Second

// Resume takes up the wills of the devices that were connected when the server
// ended, or whose will waited for its delay: each is sent after its delay, counted
// from now since nothing is known of how much of it had passed, unless the device
// connects before. It is called once, after the engine has started and before the
// first Serve. It may block.
func (s *Server) Resume(ctx context.Context) error {
	return s.engine.Kept(ctx, func(k delivery.KeptSession) {
		w, err := readKept(k.Carrier)
		if err != nil {
			s.log.Error("cannot read the kept will of a device", "device", uint64(k.Identity.Actor.Device), "error", err)
		}
		if w == nil {
			return
		}
		delay := time.Duration(w.delay) * time.Second
		if k.Until != 0 {
			delay = min(delay, time.Until(time.UnixMilli(k.Until)))
		}
		m := &waitingWill{device: deviceKey{user: k.Identity.Actor.User, device: k.Identity.Actor.Device}, from: k.Identity, will: w, kept: k.Carrier}
		if !s.wills.wait(m, max(delay, resumeGrace)) {
			s.counters.willsHurried.Add(1)
			s.wills.submit(m)
		}
	})
}
