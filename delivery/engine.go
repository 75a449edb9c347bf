package delivery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
)

// Config is what an Engine needs to know. It does not change after New. A zero
// field means its documented default.
type Config struct {
	Store   storage.Store // required; stays the caller's to close
	Plugins *hooks.Set    // nil: none, so that nobody can log in
	Log     *slog.Logger  // nil: discards

	Node           string        // name of this node; "": "local"
	BodyLimit      int           // bytes of a message body; 0: 256 KiB
	Window         int           // deliveries a device may have outstanding; 0: 64
	CursorFlush    time.Duration // how late cursors are written; 0: 200 ms
	DevicesPerUser int           // 0: 256
	Subscriptions  int           // per session; 0: 256
	Retention      string        // of chats without a policy of their own; "": "forever"
	SweepInterval  time.Duration // how often retention is applied; 0: 1 minute
	Open           OpenTopics
}

func (c Config) withDefaults() (Config, error) {
	if c.Store == nil {
		return c, errors.New("delivery: Config.Store is nil")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Node, "local")
	setDefault(&c.BodyLimit, 256<<10)
	setDefault(&c.Window, 64)
	setDefault(&c.CursorFlush, 200*time.Millisecond)
	setDefault(&c.DevicesPerUser, 256)
	setDefault(&c.Subscriptions, 256)
	setDefault(&c.Retention, retentionForever)
	setDefault(&c.SweepInterval, time.Minute)
	_, err := parseRetention(c.Retention)
	return c, err
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Engine is the whole of package delivery in one value. Its methods are safe for
// concurrent use.
type Engine struct {
	cfg     Config
	store   storage.Store
	plugins *hooks.Set
	log     *slog.Logger

	began  time.Time
	ctx    context.Context // for the work of our own goroutines; ends last
	cancel context.CancelFunc
	done   sync.WaitGroup

	accounts  *names[chat.UserID, account]
	groups    *names[chat.GroupID, group]
	devices   *deviceNames
	intake    *intake
	committer *committer
	router    *router
	pullers   *pullers
	flusher   *flusher
	directory *directory
	rooms     *rooms
	receipts  *receipts
	progress  progress
	presence  *presence
	typers    *typers
	sweeper   *sweeper
	open      *openTopics
	opening   opening

	stats Stats
}

// pullerCount bounds how many inboxes are read at once.
const pullerCount = 4

// New makes an engine over a store and reads what it has to know from the start.
// Nothing runs before Start.
func New(cfg Config) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, store: cfg.Store, plugins: cfg.Plugins, log: cfg.Log}
	e.began = time.Now()
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.accounts = newAccounts(e.store)
	e.groups = newGroups(e.store)
	e.devices = newDeviceNames(e.store)
	e.intake = newIntake()
	e.committer = newCommitter(e)
	e.router = newRouter(e)
	e.pullers = newPullers(e)
	e.flusher = newFlusher(e)
	e.directory = newDirectory()
	e.rooms = newRooms()
	e.receipts = newReceipts(e)
	e.presence = newPresence(e)
	e.typers = newTypers()
	e.sweeper = newSweeper(e)
	e.open = newOpenTopics(e)
	e.opening.by = make(map[chat.DeviceID]chan struct{})
	return e, e.open.load(e.ctx)
}

// Start begins the engine's work. Shutdown ends it.
func (e *Engine) Start() {
	e.done.Go(e.committer.run)
	for range pullerCount {
		e.done.Go(e.pullers.run)
	}
	background, stop := context.WithCancel(context.Background())
	e.done.Go(func() { e.presence.run(background) })
	e.done.Go(func() { e.sweeper.run(background) })
	var flushing sync.WaitGroup
	flushCtx, stopFlush := context.WithCancel(context.Background())
	flushing.Go(func() { e.flusher.run(flushCtx, e.cfg.CursorFlush) })
	e.done.Go(func() {
		e.router.run() // ends after the committer, which ends when the intake is closed
		stop()
		e.pullers.close()
		stopFlush()
		flushing.Wait()
	})
}

// Shutdown ends the engine: what was handed over is committed and answered,
// cursors are written, and every goroutine has ended when it returns nil. The
// carrier has closed its sessions before. An error means that ctx ended first.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.intake.close()
	ended := make(chan struct{})
	go func() {
		e.done.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		e.cancel()
		return nil
	case <-ctx.Done():
		e.cancel()
		return ctx.Err()
	}
}

// retryLater has a puller serve a session again after a pause.
func (e *Engine) retryLater(s *Session) {
	time.AfterFunc(pullRetry, func() {
		s.mu.Lock()
		s.queued = false
		s.wakeLocked()
		s.mu.Unlock()
	})
}

// Stats are counters since New, for metrics.
type Stats struct {
	UnknownAcks atomic.Uint64 // acknowledgements of what this connection was not sent
	TooLarge    atomic.Uint64 // entries passed over since even without body they exceed the receiver's Maximum Packet Size
	Cut         atomic.Uint64 // entries sent without body for that reason
	LiveDrops   atomic.Uint64 // live-only publications without room
	GuestDrops  atomic.Uint64 // entries that a guest was too slow for
	Stored      atomic.Uint64 // messages appended
	Duplicates  atomic.Uint64 // publishes answered with an earlier message
	Refused     atomic.Uint64 // publishes refused
	Batches     atomic.Uint64 // commits
	Deliveries  atomic.Uint64 // entries handed to links at QoS 0 or 1
	Swept       atomic.Uint64 // entries whose content retention has removed

	// Of open topics.
	Queued       atomic.Uint64 // messages put into queues of the store
	QueueDropped atomic.Uint64 // messages given up since a queue was full
	QueueRefused atomic.Uint64 // publishes refused since a queue was full
	OpenDrops    atomic.Uint64 // messages at QoS 0 without room
}

// Stats returns the engine's counters, which go on counting.
func (e *Engine) Stats() *Stats { return &e.stats }

// Live returns how many users and sessions are connected.
func (e *Engine) Live() (users, sessions int) {
	e.directory.mu.RLock()
	defer e.directory.mu.RUnlock()
	for _, s := range e.directory.users {
		sessions += len(s)
	}
	return len(e.directory.users), sessions
}
