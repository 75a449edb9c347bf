package chat_test

import (
	"errors"
	"testing"

	"tidings/chat"
)

func TestAppendNotices(t *testing.T) {
	id := testID(t)
	for _, tt := range []struct {
		got  []byte
		want string
	}{
		{chat.AppendReceipt(nil, "u/bob", "bob", 41, 40), `{"chat":"u/bob","user":"bob","delivered":41,"read":40}`},
		{chat.AppendReceiptCounts(nil, "g/team", 41, 5, 3), `{"chat":"g/team","seq":41,"delivered_by":5,"read_by":3}`},
		{chat.AppendTyping(nil, "bob", true), `{"user":"bob","typing":true}`},
		{chat.AppendTyping(nil, "bob", false), `{"user":"bob","typing":false}`},
		{chat.AppendPresence(nil, "bob", chat.PresenceAway, 0), `{"user":"bob","state":"away"}`},
		{chat.AppendPresence(nil, "bob", chat.PresenceOffline, 5), `{"user":"bob","state":"offline","last_seen":5}`},
		{chat.AppendPresence(nil, "bob", chat.PresenceInvisible, 5), `{"user":"bob","state":"offline","last_seen":5}`},
		{
			chat.AppendSent(nil, []byte(`c"1`), "u/bob", 41, id, 5),
			`{"cid":"c\"1","chat":"u/bob","seq":41,"id":"0190163d-8694-739b-aea5-966c26f8ad91","ts":5}`,
		},
		{chat.AppendSent(nil, nil, "u/bob", 41, id, 5), `{"chat":"u/bob","seq":41,"id":"0190163d-8694-739b-aea5-966c26f8ad91","ts":5}`},
		{
			chat.AppendSentError(nil, []byte(`c`), "u/bob", "malformed", `key "x"`),
			`{"cid":"c","chat":"u/bob","error":{"code":"malformed","message":"key \"x\""}}`,
		},
		{chat.AppendSentError(nil, nil, "", "unknown_topic", "no"), `{"error":{"code":"unknown_topic","message":"no"}}`},
		{
			chat.AppendSentError(nil, nil, "", "refused", "plugins say\xffwhat they like"),
			`{"error":{"code":"refused","message":"plugins say�what they like"}}`,
		},
	} {
		if string(tt.got) != tt.want {
			t.Errorf("got  %s\nwant %s", tt.got, tt.want)
		}
	}
}

func TestParseNotices(t *testing.T) {
	for payload, want := range map[string]uint64{
		`{"seq":41}`: 41, ` { "seq" : 1 } `: 1, `{"s\u0065q":9223372036854775807}`: 1<<63 - 1,
	} {
		if got, err := chat.ParseRead([]byte(payload)); err != nil || got != want {
			t.Errorf("ParseRead(%q) = %d, %v", payload, got, err)
		}
	}
	for payload, want := range map[string]bool{``: true, `{"typing":true}`: true, `{"typing": false }`: false} {
		if got, err := chat.ParseTyping([]byte(payload)); err != nil || got != want {
			t.Errorf("ParseTyping(%q) = %v, %v", payload, got, err)
		}
	}
	for payload, want := range map[string]chat.PresenceState{
		`{"state":"online"}`: chat.PresenceOnline, `{"state":"away"}`: chat.PresenceAway,
		`{"state":"busy"}`: chat.PresenceBusy, `{"state":"invisible"}`: chat.PresenceInvisible,
	} {
		if got, err := chat.ParsePresence([]byte(payload)); err != nil || got != want {
			t.Errorf("ParsePresence(%q) = %q, %v", payload, got, err)
		}
	}
}

func TestParseNoticesRefuses(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"read":     func(b []byte) error { _, err := chat.ParseRead(b); return err },
		"typing":   func(b []byte) error { _, err := chat.ParseTyping(b); return err },
		"presence": func(b []byte) error { _, err := chat.ParsePresence(b); return err },
	}
	for name, payloads := range map[string][]string{
		"read": {
			``, `41`, `{`, `{}`, `{"seq":0}`, `{"seq":-1}`, `{"seq":1.0}`, `{"seq":1e3}`, `{"seq":"1"}`, `{"seq":9223372036854775808}`,
			`{"seq":1,"seq":2}`, `{"seq":1,"chat":"u/bob"}`, `{"seq":1} x`, `{"seq":`, `{"seq"`, `{"SEQ":1}`, `[{"seq":1}]`, `{"seq":1`,
		},
		"typing":   {`1`, `true`, `{}`, `{"typing":1}`, `{"typing":"true"}`, `{"typing":null}`, `{"typing":tru}`, `{"typing":`, `{"typing":true,}`},
		"presence": {``, `away`, `{}`, `{"state":"offline"}`, `{"state":""}`, `{"state":1}`, `{"state":"Away"}`, `{"state":"away`, `{"state":"away","x":1}`},
	} {
		for _, payload := range payloads {
			err := parsers[name]([]byte(payload))
			if de, ok := errors.AsType[*chat.DraftError](err); !ok || de.Message == "" || de.Code != chat.CodeMalformed {
				t.Errorf("%s %q: %v, want a DraftError", name, payload, err)
			}
		}
	}
}

func FuzzParseNotices(f *testing.F) {
	for _, s := range []string{``, `{"seq":41}`, `{"typing":true}`, `{"state":"away"}`, `{"seq":1,"x":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		_, readErr := chat.ParseRead(payload)
		_, typingErr := chat.ParseTyping(payload)
		_, stateErr := chat.ParsePresence(payload)
		accepted := 0
		for _, err := range []error{readErr, typingErr, stateErr} {
			if err == nil {
				accepted++
			}
		}
		if accepted > 1 || accepted == 1 && len(payload) > 0 && !strictJSON(payload, 1) {
			t.Fatalf("accepts %q %d times", payload, accepted)
		}
	})
}
