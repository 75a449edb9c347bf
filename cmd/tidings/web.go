package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"tidings/storage"
	"tidings/storage/pebble"
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

// readyz tells whether new clients are well served here. The reason comes in a line
// of text, without details: those are in the log.
//
// A full disk is no reason: this server refuses publishes then, and each client is
// told why, but everybody still gets what is waiting for him. No other server has
// that, so sending clients away would help nobody. Alerts are for the metric
// tidings_store_writable. A disk that stands still is one: who connects would wait.
func (s *server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		answer(w, http.StatusServiceUnavailable, "shutting down\n")
		return
	}
	switch err := s.store.Health(); {
	case err == nil:
		answer(w, http.StatusOK, "ok\n")
	case errors.Is(err, storage.ErrFull):
		answer(w, http.StatusOK, "ok, but the disk is full: publishes are refused\n")
	case errors.Is(err, pebble.ErrStalled):
		answer(w, http.StatusServiceUnavailable, "the disk does not answer: publishes wait\n")
	default:
		answer(w, http.StatusServiceUnavailable, "the store takes no more writes; the log says why\n")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client is gone
}
