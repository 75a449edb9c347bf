// Package server runs `tidings serve` as a child process for black-box tests and for load: start and wait until ready,
// kill -9, start again on the same ports and data, stop with SIGTERM, and set up logins by the command line.
//
// A Server's methods may be called from any goroutine, but starting and stopping are the caller's to order. The child is
// reaped by a goroutine that ends with it; Kill and Stop wait for it.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Config says what to run. Dir must exist; everything else has a default.
type Config struct {
	Bin  string   // the binary; "": Build
	Dir  string   // holds "server.log" and, unless Data is set, the data directory "data"
	Data string   // the data directory; "": Dir/data
	MQTT string   // listen address; "": a free loopback port
	HTTP string   // listen address; "": a free loopback port
	Args []string // further arguments of serve
	Env  []string // added to this process's environment, for serve and the operator verbs
	// ReadyTimeout bounds Start; 0: 30 s.
	ReadyTimeout time.Duration
}

// Server is a data directory and the process that serves it, if any.
type Server struct {
	cfg Config

	mu    sync.Mutex
	child *child // nil while no process runs
}

// child is one process; done is closed after Wait returned.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// New fills cfg's defaults and starts nothing.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Bin == "" {
		bin, err := Build(ctx)
		if err != nil {
			return nil, err
		}
		cfg.Bin = bin
	}
	for _, addr := range []*string{&cfg.MQTT, &cfg.HTTP} {
		if *addr != "" {
			continue
		}
		free, err := FreeAddr()
		if err != nil {
			return nil, err
		}
		*addr = free
	}
	if cfg.Data == "" {
		cfg.Data = filepath.Join(cfg.Dir, "data")
	}
	if cfg.ReadyTimeout == 0 {
		cfg.ReadyTimeout = 30 * time.Second
	}
	return &Server{cfg: cfg}, nil
}

// FreeAddr returns a loopback address that nothing listens on right now.
func FreeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// MQTT is the address of the MQTT listener.
func (s *Server) MQTT() string { return s.cfg.MQTT }

// HTTP is the address of the HTTP listener.
func (s *Server) HTTP() string { return s.cfg.HTTP }

// Data is the data directory.
func (s *Server) Data() string { return s.cfg.Data }

// LogFile holds the output of all processes of this server, one after the other.
func (s *Server) LogFile() string { return filepath.Join(s.cfg.Dir, "server.log") }

// Start starts the process and waits until /readyz answers 200. It fails at once when the process ends before that.
func (s *Server) Start(ctx context.Context) error {
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"serve", "--data", s.Data(), "--mqtt", s.cfg.MQTT, "--http", s.cfg.HTTP}, s.cfg.Args...)
	cmd := exec.Command(s.cfg.Bin, args...)
	cmd.Env = append(os.Environ(), s.cfg.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c := &child{cmd: cmd, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(c.done)
	}()
	s.mu.Lock()
	s.child = c
	s.mu.Unlock()
	if err := s.waitReady(ctx, c); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

func (s *Server) waitReady(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadyTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.ready(ctx) {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("server ended before it was ready: %v (see %s)", c.cmd.ProcessState, s.LogFile())
		case <-ctx.Done():
			return fmt.Errorf("server not ready: %w (see %s)", ctx.Err(), s.LogFile())
		case <-tick.C:
		}
	}
}

func (s *Server) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.cfg.HTTP+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// PID is the process id, 0 while none runs.
func (s *Server) PID() int {
	if c := s.running(); c != nil {
		return c.cmd.Process.Pid
	}
	return 0
}

// Running says whether the process lives.
func (s *Server) Running() bool { return s.running() != nil }

func (s *Server) running() *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return nil
	}
	select {
	case <-s.child.done:
		return nil
	default:
		return s.child
	}
}

// Kill ends the process with SIGKILL and reaps it. It is no error if none runs.
func (s *Server) Kill() error {
	c := s.running()
	if c == nil {
		return nil
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.done
	return nil
}

// Stop sends SIGTERM, waits for the end of the process and returns its exit code. When ctx ends first the process is
// killed and the error says so.
func (s *Server) Stop(ctx context.Context) (int, error) {
	c := s.running()
	if c == nil {
		return 0, errors.New("server: not running")
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-c.done:
		return c.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return -1, errors.Join(fmt.Errorf("after SIGTERM: %w", ctx.Err()), s.Kill())
	}
}
