package main

import (
	"encoding/json"
	"net/http"
	"time"
)

// Limits of HTTP requests. A WebSocket leaves them behind with its upgrade.
const (
	headerTime  = 10 * time.Second
	answerTime  = 30 * time.Second
	idleTime    = 2 * time.Minute
	headerBytes = 16 << 10
)

// newHTTP makes the HTTP server: health, metrics, version, and MQTT over WebSocket.
func (s *server) newHTTP() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(versionInfo()) // the client is gone
	})
	mux.Handle("GET /metrics", s.metrics())
	mux.Handle(s.cfg.WS.Path, s.broker.WebSocketHandler())
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       answerTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          quietHTTP,
	}
}

// readyz tells whether this server takes messages.
func (s *server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		answer(w, http.StatusServiceUnavailable, "shutting down\n")
		return
	}
	if err := s.store.Health(); err != nil {
		answer(w, http.StatusServiceUnavailable, "the store takes no messages now; the log says why\n")
		return
	}
	answer(w, http.StatusOK, "ok\n")
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client is gone
}
