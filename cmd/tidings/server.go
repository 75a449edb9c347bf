package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tidings/broker"
	"tidings/config"
	"tidings/storage"
)

// How long each part may take to end. SIGTERM has to be done within 5 s.
const (
	shutdownTime = 4500 * time.Millisecond // of everything
	clientsTime  = 3 * time.Second         // of that, for telling the clients and writing their cursors
	healthPause  = time.Second
)

// server is a running server: the parts and their carriers. newServer opens
// everything, run serves and closes it.
type server struct {
	*parts
	cfg     *config.Config
	broker  *broker.Server
	mqtt    net.Listener
	web     net.Listener
	plain   net.Listener // for conformance tests; nil: there is none
	http    *http.Server
	control *control

	files uint64 // that may be open at once, as far as known

	draining atomic.Bool
	work     sync.WaitGroup
	failed   chan error // the first failure that ends the server
}

// newServer opens the store, listens, and serves nothing yet. What it has opened
// is closed again if it fails.
func newServer(cfg *config.Config, log *slog.Logger) (*server, error) {
	p, err := openParts(cfg, log)
	if err != nil {
		return nil, err
	}
	return newServerOn(cfg, p)
}

// newServerOn is newServer with parts that are there already.
func newServerOn(cfg *config.Config, p *parts) (*server, error) {
	s := &server{parts: p, cfg: cfg, failed: make(chan error, 1)}
	if err := s.open(); err != nil {
		for _, ln := range []net.Listener{s.mqtt, s.web, s.plain} {
			if ln != nil {
				ln.Close()
			}
		}
		return nil, errors.Join(err, p.store.Close())
	}
	return s, nil
}

// open makes the carriers and opens their listeners.
func (s *server) open() (err error) {
	if s.broker, err = broker.New(brokerConfig(s.cfg, s.log), s.engine, s.users); err != nil {
		return err
	}
	if s.mqtt, err = listen("mqtt", "MQTT", s.cfg.MQTT); err != nil {
		return err
	}
	if s.web, err = listen("http", "HTTP", s.cfg.HTTP); err != nil {
		return err
	}
	if s.cfg.Conformance != "" { // on loopback: the configuration was checked
		if s.plain, err = listen("conformance", "conformance", s.cfg.Conformance); err != nil {
			return err
		}
	}
	s.http = s.newHTTP()
	s.control, err = listenControl(s.cfg.Data, s.operators, s.status)
	return err
}

func brokerConfig(cfg *config.Config, log *slog.Logger) broker.Config {
	return broker.Config{
		MaximumPacketSize:      int(cfg.Limits.Packet),
		ReceiveMaximum:         cfg.Limits.Inflight,
		TopicAliasMaximum:      cfg.TopicAliasMaximum,
		SharedSubscriptions:    len(cfg.OpenTopics) > 0,
		ServerReference:        cfg.ServerReference,
		MaximumSessionExpiry:   time.Duration(cfg.SessionExpiryMax),
		OutputLimit:            int(cfg.Limits.OutputBuffer),
		MaximumConnections:     cfg.Limits.Connections,
		MaximumUnauthenticated: cfg.Limits.Unauthenticated,
		MaximumPerAddress:      cfg.Limits.UnauthenticatedPerAddress,
		ConnectTimeout:         time.Duration(cfg.ConnectTimeout),
		WriteTimeout:           time.Duration(cfg.WriteTimeout),
		MinimumKeepAlive:       time.Duration(cfg.KeepAlive.Min),
		MaximumKeepAlive:       time.Duration(cfg.KeepAlive.Max),
		Origins:                cfg.WS.Origins,
		Logger:                 log,
	}
}

// listen opens one address. key is the setting to change if it cannot be had.
func listen(key, what, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		err = fmt.Errorf("%s address %s is taken by another program: stop that, or choose another address with --%s", what, addr, key)
	case errors.Is(err, syscall.EACCES):
		err = fmt.Errorf("%s address %s: this user may not listen there; choose a port above 1023 with --%s", what, addr, key)
	default:
		err = fmt.Errorf("%s address %s: %w; choose another with --%s", what, addr, err, key)
	}
	return nil, addressError{err}
}

// fail ends the server with an error.
func (s *server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// run serves until ctx ends or something fails, then closes everything in reverse
// order. It returns nil for an orderly end. ready is as in command.serve.
func (s *server) run(ctx context.Context, ready func(context.Context, *server) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.engine.Start()
	if err := s.broker.Resume(ctx); err != nil {
		s.log.Error("wills of the last run are not taken up", "error", err)
	}
	s.work.Go(func() { s.served("MQTT", s.broker.ServeTCP(s.mqtt), broker.ErrClosed) })
	s.work.Go(func() { s.served("HTTP", s.http.Serve(s.web), http.ErrServerClosed) })
	s.work.Go(func() { s.served("control socket", s.control.serve(), http.ErrServerClosed) })
	s.work.Go(func() { s.watch(ctx, s.store.Health) })
	addresses := []any{"mqtt", s.mqtt.Addr().String(), "http", s.web.Addr().String()}
	if s.plain != nil {
		s.work.Go(func() { s.served("conformance", s.broker.ServeOpen(s.plain), broker.ErrClosed) })
		addresses = append(addresses, "conformance", s.plain.Addr().String())
	}
	s.log.Info("ready", append(addresses, "data", s.cfg.Data, "version", version, "pid", os.Getpid(), "open_files", s.files)...)
	if ready != nil {
		s.work.Go(func() {
			if err := ready(ctx, s); err != nil && ctx.Err() == nil {
				s.fail(err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case err = <-s.failed:
		s.log.Error("stopping", "error", err)
	}
	cancel()
	return errors.Join(err, s.close())
}

// served notes how a listener's loop has ended.
func (s *server) served(what string, err, orderly error) {
	if err != nil && !errors.Is(err, orderly) {
		s.fail(fmt.Errorf("serve %s: %w", what, err))
	}
}

// watch ends the server when the store takes no more writes: then only a restart
// helps, and a process that lives on would refuse everybody for ever.
func (s *server) watch(ctx context.Context, health func() error) {
	tick := time.NewTicker(healthPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := health(); errors.Is(err, storage.ErrReadOnly) {
				s.fail(err)
				return
			}
		}
	}
}

// close stops accepting, tells the clients, writes what is waiting and closes the
// store, within shutdownTime. Where something does not end in time the store is
// left as a crash would leave it: nothing that was acknowledged is lost by that, and
// closing it under somebody's hands would be worse.
func (s *server) close() error {
	s.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	var errs []error
	clients, stop := context.WithTimeout(ctx, clientsTime)
	defer stop()
	if err := s.broker.Shutdown(clients); err != nil {
		errs = append(errs, fmt.Errorf("close the connections: %w", err))
	}
	if err := s.control.close(clients); err != nil {
		errs = append(errs, fmt.Errorf("end the operators' calls: %w", err))
	}
	if s.http.Shutdown(clients) != nil {
		errs = append(errs, s.http.Close())
	}
	s.work.Wait()
	if err := s.engine.Shutdown(ctx); err != nil {
		errs = append(errs, fmt.Errorf("write what is waiting: %w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("not everything ended in time, the next start will recover the store: %w", err)
	}
	return s.store.Close()
}
