package broker

import "encoding/json"

// kept is what the carrier keeps with a session for the device's next connection,
// as JSON.
type kept struct {
	Will *keptWill `json:"will,omitempty"`
}

type keptWill struct {
	Delay   uint32 `json:"delay,omitempty"` // seconds
	Topic   string `json:"topic"`
	Payload []byte `json:"payload,omitempty"`
	Text    bool   `json:"text,omitempty"`
	CID     string `json:"cid"`
}

// keep returns what is to be kept of a connection with will w; nil for nothing.
func keep(w *will) []byte {
	if w == nil {
		return nil
	}
	b, err := json.Marshal(kept{&keptWill{w.delay, w.topic, w.payload, w.text, w.cid}})
	if err != nil {
		return nil // there is nothing in it that JSON could not hold
	}
	return b
}
