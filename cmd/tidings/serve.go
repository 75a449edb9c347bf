package main

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/spf13/cobra"

	"tidings/config"
	"tidings/storage"
)

func newServe(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Runs the server until SIGTERM or SIGINT. Every setting is a flag, a variable TIDINGS_… and a key of\n" +
			"the configuration file; docs/config.md has them all.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.serve(cmd.Context(), &cfg, nil)
		},
	}
	config.RegisterFlags(cmd.Flags())
	c.configFlag(cmd)
	return cmd
}

// serve runs a server until ctx ends. ready, if not nil, is called once it takes
// clients; ctx ends for it when the server does.
func (c *command) serve(ctx context.Context, cfg *config.Config, ready func(context.Context, *server) error) error {
	log := newLogger(c.err, &cfg.Log)
	for name, near := range config.UnknownEnv(c.env, ownVariables...) {
		log.Warn("unknown environment variable", "name", name, "nearest", near)
	}
	if c.getenv("GOGC") == "" {
		var tuning sync.WaitGroup
		gcCtx, stop := context.WithCancel(ctx)
		tuning.Go(func() { tuneGC(gcCtx) })
		defer tuning.Wait()
		defer stop()
	}
	files, err := raiseFileLimit()
	if err != nil {
		log.Warn("limit of open files cannot be raised", "error", err)
	}
	for _, addr := range []string{cfg.MQTT, cfg.HTTP} {
		if !loopback(addr) {
			log.Warn("address is reachable from other machines and not encrypted; put TLS in front of it", "address", addr)
		}
	}
	var s *server
	err = whileInUse(ctx, func() (again bool, err error) {
		if s, err = newServer(cfg, log); !errors.Is(err, storage.ErrInUse) {
			return false, err
		}
		running, err := explainInUse(ctx, cfg, err)
		return !running, err
	})
	if err != nil {
		return err
	}
	s.files = files
	return s.run(ctx, ready)
}

// loopback tells whether only this machine can reach an address to listen on.
func loopback(addr string) bool {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return ap.Addr().IsLoopback()
	}
	host, _, _ := cutAddress(addr)
	return host == "localhost"
}
