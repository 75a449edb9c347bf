package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"tidings/api"
	"tidings/config"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/hooks/auth"
	"tidings/hooks/limits"
	"tidings/storage"
	"tidings/storage/pebble"
	"tidings/topics"
)

// parts are what a server and an operator without one both need: everything but
// the carriers.
type parts struct {
	log       *slog.Logger
	store     *pebble.Store
	auth      *auth.Authenticator
	limits    *limits.Limits // nil: none are configured
	logins    *limits.Logins // nil: no rate is configured
	plugins   *hooks.Set
	engine    *delivery.Engine
	users     *api.Table
	operators *api.Table
}

// openParts opens the store and builds what stands on it. Nothing runs before
// engine.Start.
func openParts(cfg *config.Config, log *slog.Logger) (*parts, error) {
	store, err := pebble.Open(cfg.Data, storeOptions(cfg, log))
	if err != nil {
		return nil, err
	}
	return newParts(cfg, log, store)
}

func storeOptions(cfg *config.Config, log *slog.Logger) pebble.Options {
	return pebble.Options{Cache: int64(cfg.Store.Cache), Reserve: int64(cfg.Store.Reserve), Logger: log}
}

// newParts builds what stands on the store. It closes the store if it fails.
func newParts(cfg *config.Config, log *slog.Logger, store *pebble.Store) (*parts, error) {
	p := &parts{log: log, store: store}
	if err := p.build(cfg); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return p, nil
}

func (p *parts) build(cfg *config.Config) (err error) {
	secret, err := loadSecret(cfg.Data)
	if err != nil {
		return err
	}
	p.auth, err = auth.New(p.store, auth.Config{
		NotFound:    storage.ErrNotFound,
		Secret:      secret,
		Argon2:      argon2(&cfg.Auth.Argon2),
		Concurrency: cfg.Auth.Argon2.Concurrency,
		Queue:       cfg.Auth.Argon2.Queue,
		Remember:    zeroIsNone(cfg.Auth.Remember),
	})
	if err != nil {
		return err
	}
	var plugins []any
	if p.logins = limits.NewLogins(float64(cfg.Limits.LoginsPerSecond), 0); p.logins != nil {
		plugins = append(plugins, pace{p.logins}) // in front of what costs time
	}
	plugins = append(plugins, p.auth)
	rates := limits.Config{
		Device: limits.Rate{Messages: float64(cfg.Limits.MessagesPerSecond), Bytes: float64(cfg.Limits.BytesPerSecond)},
		User:   limits.Rate{Messages: float64(cfg.Limits.UserMessagesPerSecond), Bytes: float64(cfg.Limits.UserBytesPerSecond)},
		Burst:  time.Duration(cfg.Limits.Burst),
	}
	if rates.Enabled() {
		if p.limits, err = limits.New(rates); err != nil {
			return err
		}
		plugins = append(plugins, p.limits)
	}
	if p.plugins, err = hooks.NewSet(p.log, plugins...); err != nil {
		return err
	}
	open, err := openTopics(cfg)
	if err != nil {
		return err
	}
	p.engine, err = delivery.New(delivery.Config{
		Store: p.store, Plugins: p.plugins, Log: p.log,
		Node:           cfg.Node,
		BodyLimit:      int(cfg.Limits.Body),
		CursorFlush:    time.Duration(cfg.CursorFlush),
		DevicesPerUser: cfg.Limits.DevicesPerUser,
		Subscriptions:  cfg.Limits.Subscriptions,
		Retention:      string(cfg.Retention),
		Open:           open,
	})
	if err != nil {
		return err
	}
	operations := api.Config{
		Engine: p.engine, Log: p.log,
		Hash: p.auth.Hash, BadPassword: auth.ErrPassword,
		NewToken: auth.NewToken, Compact: p.store.Compact,
	}
	p.users, p.operators = api.Users(operations), api.Operators(operations)
	return nil
}

// openTopics are what the configuration says of open topics.
func openTopics(cfg *config.Config) (o delivery.OpenTopics, err error) {
	if o.Names, err = topics.NewOpen(cfg.OpenTopics); err != nil {
		return o, fmt.Errorf("open_topics: %w", err)
	}
	if o.Rules, err = topics.ParseRules(cfg.Access); err != nil {
		return o, fmt.Errorf("access: %w", err)
	}
	o.Queue, o.Refuse = cfg.Open.Queue, cfg.Open.QueuePolicy == "refuse"
	o.Retained, o.RetainedBytes = cfg.Open.Retained, int(cfg.Open.RetainedBytes)
	return o, nil
}

// close ends the engine and then the store. If the engine does not end in time
// the store is left as a crash would leave it, since the engine may still use it.
func (p *parts) close(ctx context.Context) error {
	if err := p.engine.Shutdown(ctx); err != nil {
		return err
	}
	return p.store.Close()
}

func argon2(c *config.Argon2) auth.Params {
	return auth.Params{MemoryKiB: uint32(c.Memory / config.KiB), Time: uint32(c.Time), Threads: uint8(c.Threads)}
}

// zeroIsNone turns a setting that means "none" by zero into a package's negative.
func zeroIsNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// pace is the authenticator and exchanger that keeps the rate of logins: what is over it is
// told to come later, before anything is computed or read for it.
type pace struct{ rate *limits.Logins }

// Begin implements hooks.Exchanger.
func (p pace) Begin(context.Context, *hooks.Login, string) (hooks.Exchange, error) {
	if !p.rate.Allow() {
		return nil, hooks.ErrBusy
	}
	return nil, hooks.ErrNotMine
}

// Authenticate implements hooks.Authenticator.
func (p pace) Authenticate(context.Context, *hooks.Login) (hooks.Grant, error) {
	if !p.rate.Allow() {
		return hooks.Grant{}, hooks.ErrBusy
	}
	return hooks.Grant{}, hooks.ErrNotMine
}

// newLogger makes the log that the configuration asks for.
func newLogger(w io.Writer, c *config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the configuration was checked
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
