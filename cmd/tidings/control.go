package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"tidings/api"
	"tidings/delivery"
)

// The control socket serves the operators' operations to those who may open the
// data directory: POST /v1/{operation} with the parameters as body, answered by
// {"result":…} or {"error":{"code","message"}}. GET /v1/status tells who serves.

const (
	controlName  = "control.sock"
	controlBytes = 64 << 20 // of a request: a list of 10,000 and more fits
)

// control is the server's end of the socket.
type control struct {
	ln   net.Listener
	dir  *os.File // keeps a short name of the directory alive; nil: not needed
	path string
	http *http.Server

	cancel context.CancelFunc // ends the calls
	calls  sync.WaitGroup     // under way
}

// status tells an operator which server he talks to.
type status struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	MQTT    string `json:"mqtt"`
	HTTP    string `json:"http"`
}

func (s *server) status() status {
	return status{version, os.Getpid(), s.mqtt.Addr().String(), s.web.Addr().String()}
}

// controlBody is the answer to a call.
type controlBody struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *api.ErrorBody  `json:"error,omitempty"`
}

// quietHTTP drops what net/http says about its clients: anybody can cause it.
var quietHTTP = log.New(io.Discard, "", 0)

// listenControl opens the socket in the data directory, which this process has
// locked: a socket that is there already was left by a crash.
func listenControl(data string, ops *api.Table, who func() status) (*control, error) {
	c := &control{path: filepath.Join(data, controlName)}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old control socket: %w", err)
	}
	short, dir, err := socketPath(c.path)
	if err != nil {
		return nil, err
	}
	c.dir = dir
	// Nobody else may connect, not even between bind and a chmod.
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", short)
	syscall.Umask(old)
	if err != nil {
		c.release()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	c.ln = ln
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { controlAnswer(w, http.StatusOK, who()) })
	mux.HandleFunc("POST /v1/{operation}", func(w http.ResponseWriter, r *http.Request) {
		c.calls.Add(1)
		defer c.calls.Done()
		controlCall(w, r, ops)
	})
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	c.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, ErrorLog: quietHTTP,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	return c, nil
}

func controlCall(w http.ResponseWriter, r *http.Request, ops *api.Table) {
	params, err := io.ReadAll(http.MaxBytesReader(w, r.Body, controlBytes))
	if err != nil {
		controlAnswer(w, http.StatusBadRequest, controlBody{Error: &api.ErrorBody{Code: delivery.CodeTooLarge, Message: "the request is too large or broken off"}})
		return
	}
	result, refusal := ops.Call(r.Context(), delivery.Identity{}, r.PathValue("operation"), params)
	if refusal != nil {
		controlAnswer(w, http.StatusUnprocessableEntity, controlBody{Error: &api.ErrorBody{Code: refusal.Code, Message: refusal.Message}})
		return
	}
	controlAnswer(w, http.StatusOK, controlBody{Result: result})
}

func controlAnswer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

func (c *control) serve() error { return c.http.Serve(c.ln) }

// callGrace is how long a call may go on when the server is asked to stop.
const callGrace = time.Second

// close ends the socket and waits for the calls under way: they are given
// callGrace, then cancelled. An error means that one has not ended with ctx.
func (c *control) close(ctx context.Context) error {
	defer c.release()
	defer c.cancel()
	_ = os.Remove(c.path) // first, so that no operator finds it; a leftover does no harm
	grace, stop := context.WithTimeout(ctx, callGrace)
	defer stop()
	if c.http.Shutdown(grace) == nil {
		return nil
	}
	c.cancel()
	_ = c.http.Close() // Shutdown has told what is wrong
	ended := make(chan struct{})
	go func() {
		c.calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *control) release() {
	if c.dir != nil {
		_ = c.dir.Close() // was only read
	}
}

// controlClient is the operator's end of the socket.
type controlClient struct {
	http *http.Client
	dir  *os.File
}

// dialControl returns nil if no server answers on the data directory's socket.
func dialControl(ctx context.Context, data string) *controlClient {
	path := filepath.Join(data, controlName)
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	short, dir, err := socketPath(path)
	if err != nil {
		return nil
	}
	c := &controlClient{dir: dir, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", short)
		},
	}}}
	if _, err := c.status(ctx); err != nil {
		c.close()
		return nil
	}
	return c
}

func (c *controlClient) status(ctx context.Context) (status, error) {
	var s status
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://control/v1/status", http.NoBody)
	if err != nil {
		return s, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

func (c *controlClient) call(ctx context.Context, operation string, params []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/v1/"+operation, bytes.NewReader(params))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the running server: %w", err)
	}
	defer resp.Body.Close()
	var body controlBody
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, fmt.Errorf("answer of the running server: %w", err)
	}
	if body.Error != nil {
		return nil, refusalError{body.Error.Code, body.Error.Message}
	}
	return body.Result, nil
}

func (c *controlClient) close() {
	c.http.CloseIdleConnections()
	if c.dir != nil {
		_ = c.dir.Close() // was only read
	}
}
