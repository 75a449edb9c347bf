package broker

import (
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// WebSocketHandler returns the handler that serves MQTT over WebSocket, to be put
// at the path of the operator's choice. Clients must ask for subprotocol mqtt and
// send binary frames [MQTT-6.0.0-1, MQTT-6.0.0-3]; web pages must come from the
// server's own host or from one of Config.Origins. A request is served until its
// connection has ended. The handler's server sets the deadlines before the upgrade.
func (s *Server) WebSocketHandler() http.Handler {
	opts := &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}, OriginPatterns: s.cfg.Origins}
	for _, o := range s.cfg.Origins {
		if o == "*" {
			opts.InsecureSkipVerify = true
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.begin(nil); err != nil {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		ws, err := websocket.Accept(w, r, opts)
		if err != nil {
			s.counters.refuse("websocket")
			return // Accept has answered
		}
		if ws.Subprotocol() != "mqtt" {
			s.counters.refuse("websocket")
			_ = ws.Close(websocket.StatusPolicyViolation, "subprotocol mqtt is required")
			return
		}
		nc := &webConn{Conn: websocket.NetConn(s.ctx, ws, websocket.MessageBinary), ws: ws}
		if wire := s.newNetWire(nc, "websocket", false); wire != nil {
			wire.serve()
		}
	})
}

// webConn is a WebSocket as a network connection.
type webConn struct {
	net.Conn
	ws *websocket.Conn
}

// CloseWrite sends a close frame behind what has been written, and gives the
// client a few seconds to answer with its own.
func (c *webConn) CloseWrite() error { return c.ws.Close(websocket.StatusNormalClosure, "") }

// Close is CloseWrite: there is nothing to close halfway.
func (c *webConn) Close() error { return c.CloseWrite() }
