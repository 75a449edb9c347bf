package broker_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tidings/broker"
	"tidings/internal/mqttest"
)

func serveWeb(t *testing.T, cfg broker.Config) (url string, b *broker.Server) {
	t.Helper()
	b, err := broker.NewForTest(cfg, newFakeEngine(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(b.WebSocketHandler())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		h.Close()
	})
	return "ws" + strings.TrimPrefix(h.URL, "http"), b
}

// Shows MQTT3-6.0.0-1, MQTT3-6.0.0-3, MQTT3-6.0.0-4, MQTT5-6.0.0-1, MQTT5-6.0.0-3, MQTT5-6.0.0-4.
func TestWebSocket(t *testing.T) {
	url, b := serveWeb(t, broker.Config{Origins: []string{"chat.example.com"}})
	dial := func(origin string, sub ...string) (*websocket.Conn, error) {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		ws, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: sub, HTTPHeader: header})
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		return ws, err
	}
	for _, origin := range []string{"", "https://chat.example.com"} {
		for _, version := range []byte{mqttest.V311, mqttest.V5} {
			ws, err := dial(origin, "mqtt")
			if err != nil {
				t.Fatal(err)
			}
			c, err := mqttest.Dial(t.Context(), mqttest.Options{
				Conn: websocket.NetConn(t.Context(), ws, websocket.MessageBinary), Version: version, ClientID: "web", User: "alice", Password: "alice", Clean: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Subscribe(t.Context(), "u/alice"); err != nil {
				t.Fatal(err)
			}
			big := strings.Repeat("x", 100_000)
			if _, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "u/alice", Payload: []byte(big), QoS: 1}); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Next(t.Context()); err != nil || string(got.Payload) != big {
				t.Fatalf("got %d bytes, %v", len(got.Payload), err)
			}
			c.WriteRaw([]byte{0, 0})
			if d, ok := errors.AsType[*mqttest.Disconnected](c.Err()); version == mqttest.V5 && (!ok || d.Code != 0x82) {
				t.Errorf("malformed packet: %v", c.Err())
			}
		}
	}
	if _, err := dial("https://evil.example.com", "mqtt"); err == nil {
		t.Error("a foreign origin was accepted")
	}
	ws, err := dial("")
	if err == nil {
		_, _, err = ws.Read(t.Context())
	}
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("without a subprotocol: %v", err)
	}
	ws, err = dial("", "mqtt")
	if err != nil {
		t.Fatal(err)
	}
	ws.Write(t.Context(), websocket.MessageText, []byte("hello"))
	if _, _, err = ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Errorf("text frame: %v", err)
	}
	if b.Stats().Refused["websocket"] != 2 {
		t.Errorf("refused: %v", b.Stats().Refused)
	}
}
