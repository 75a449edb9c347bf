package conformance_test

import (
	"bufio"
	"slices"
	"testing"

	"github.com/coder/websocket"

	"tidings/internal/mqttest"
)

// webSocket opens a WebSocket to the server, which must accept the handshake.
func webSocket(t *testing.T, protocols ...string) *websocket.Conn {
	t.Helper()
	address(t) // starts it
	if shared.srv == nil {
		t.Skip("another server: where it takes WebSockets is not known")
	}
	ws, resp, err := websocket.Dial(t.Context(), "ws://"+shared.srv.HTTP()+"/mqtt", &websocket.DialOptions{Subprotocols: protocols})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		resp.Body.Close()
	}
	t.Cleanup(func() { ws.CloseNow() })
	return ws
}

// webPeer is a peer over WebSocket that has sent nothing yet.
func webPeer(t *testing.T, version byte) *peer {
	t.Helper()
	conn := websocket.NetConn(t.Context(), webSocket(t, "mqtt"), websocket.MessageBinary)
	return &peer{t: t, version: version, conn: conn, r: bufio.NewReader(conn)}
}

// Shows MQTT3-6.0.0-1, MQTT3-6.0.0-2, MQTT5-6.0.0-1, MQTT5-6.0.0-2.
func TestPacketsAndFramesAreIndependent(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		webSocket(t, "mqtt")
		user := unique()
		l := shared.srv.Login(t, user, "web")
		o := mqttest.Options{Version: version, ClientID: l.Device, User: l.User, Password: l.Token, Clean: true}
		all := mqttest.AppendConnect(nil, &o)
		all = mqttest.AppendSubscribe(all, version, 1, nil, []mqttest.Subscription{{Filter: "u/" + user, Options: 1}})
		all = append(all, 0xc0, 0)
		for _, step := range []int{1, 2, 3, 7, len(all) - 1, len(all)} {
			p := webPeer(t, version)
			for frame := range slices.Chunk(all, step) {
				p.send(frame)
			}
			if k := p.connack(); k.Code != 0 {
				t.Fatalf("CONNACK %#02x", k.Code)
			}
			if codes := p.granted(mqttest.SUBACK, 1); len(codes) != 1 || codes[0] != 1 {
				t.Errorf("frames of %d bytes: SUBACK %#02x", step, codes)
			}
			p.packet(mqttest.PINGRESP)
			p.disconnect()
		}
	})
}

// Shows MQTT3-6.0.0-1, MQTT5-6.0.0-1.
func TestTextFrameEndsTheConnection(t *testing.T) {
	t.Parallel()
	ws := webSocket(t, "mqtt")
	if err := ws.Write(t.Context(), websocket.MessageText, mqttest.AppendConnect(nil, &mqttest.Options{ClientID: "x", User: "x", Password: "x"})); err != nil {
		t.Fatal(err)
	}
	if _, b, err := ws.Read(t.Context()); err == nil {
		t.Errorf("answered %x", b)
	}
}

// Shows MQTT3-6.0.0-3, MQTT3-6.0.0-4, MQTT5-6.0.0-3, MQTT5-6.0.0-4.
func TestSubprotocol(t *testing.T) {
	t.Parallel()
	for _, offered := range [][]string{{"mqtt"}, {"mqttv3.1", "mqtt"}, {"mqtt", "chat"}} {
		if got := webSocket(t, offered...).Subprotocol(); got != "mqtt" {
			t.Errorf("offered %q, selected %q", offered, got)
		}
	}
	for _, offered := range [][]string{nil, {"mqttv3.1"}, {"MQTTX", "chat"}} {
		ws := webSocket(t, offered...)
		if got := ws.Subprotocol(); got != "" {
			t.Errorf("offered %q, selected %q", offered, got)
		}
		if _, b, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("offered %q: got %x, %v", offered, b, err)
		}
	}
}
