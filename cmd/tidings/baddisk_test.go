package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/api"
	"tidings/broker"
	"tidings/chat"
	"tidings/config"
	"tidings/internal/mqttest"
	"tidings/storage"
	"tidings/storage/pebble"
	"tidings/storage/pebble/baddisk"
)

// logins makes users and one device for each, and returns their tokens.
func logins(t *testing.T, p *parts, users ...string) (tokens []string) {
	t.Helper()
	o := &operator{parts: p}
	var add api.AddUsers
	var devices api.AddDevices
	for _, u := range users {
		add.Users = append(add.Users, api.AddUser{User: u, Name: u})
		devices.Devices = append(devices.Devices, api.DeviceName{User: u, Device: "phone"})
	}
	if err := o.call(t.Context(), "user.add", add, nil); err != nil {
		t.Fatal(err)
	}
	var made api.AddedDevices
	if err := o.call(t.Context(), "device.add", devices, &made); err != nil {
		t.Fatal(err)
	}
	for _, d := range made.Devices {
		tokens = append(tokens, d.Token)
	}
	return tokens
}

// TestFailedSyncEndsTheServer: once a sync of the log has failed no publish is
// acknowledged any more, with either version of MQTT, the server ends by itself with
// an error that says why, and what it has acknowledged is there after a power loss.
func TestFailedSyncEndsTheServer(t *testing.T) {
	mem := vfs.NewCrashableMem()
	disk := baddisk.New(mem)
	cfg := config.Default()
	cfg.Data, cfg.MQTT, cfg.HTTP = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	store, err := pebble.Open("data", pebble.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newParts(&cfg, slog.New(slog.DiscardHandler), store)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServerOn(&cfg, p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, nil) }()
	users := []string{"alice", "bob", "carol", "dave"}
	tokens := logins(t, p, users...)
	const before = 10
	var clients []*mqttest.Client
	for i, u := range users {
		c, err := mqttest.Dial(ctx, mqttest.Options{
			Addr: s.mqtt.Addr().String(), User: u, ClientID: "phone", Password: tokens[i], Clean: true,
			Version: []byte{mqttest.V5, mqttest.V311}[i%2],
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
		for n := range before {
			ack, err := c.PublishWait(ctx, &mqttest.Publish{Topic: "u/alice", Payload: fmt.Append(nil, n), QoS: byte(1 + n%2)})
			if err != nil || ack.Code >= 0x80 {
				t.Fatalf("publish on a good disk: %+v, %v", ack, err)
			}
		}
	}

	disk.Fail(baddisk.IsLogSync, syscall.EIO)
	var publishing sync.WaitGroup
	for i, c := range clients {
		publishing.Go(func() {
			for n := 0; ; n++ {
				ack, err := c.PublishWait(ctx, &mqttest.Publish{Topic: "u/alice", Payload: fmt.Append(nil, n), QoS: 1})
				if err != nil {
					return // 3.1.1 knows no other refusal, and in the end the server is gone
				}
				if ack.Code < 0x80 {
					t.Errorf("%s: a publish is acknowledged after a failed sync", users[i])
					return
				}
			}
		})
	}
	err = <-ended
	publishing.Wait()
	if !errors.Is(err, storage.ErrReadOnly) || !errors.Is(err, syscall.EIO) || exitCode(err) != exitFailed {
		t.Errorf("the server ends with %v, exit code %d", err, exitCode(err))
	}
	for _, word := range []string{"read-only", "sync", "check the disk"} {
		if !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("the end does not speak of %q: %v", word, err)
		}
	}
	checkStored(t, mem.CrashClone(vfs.CrashCloneCfg{}), len(users), before)
}

// checkStored opens what a power loss leaves and looks for what was acknowledged.
func checkStored(t *testing.T, fs vfs.FS, users int, each uint64) {
	t.Helper()
	store, err := pebble.Open("data", pebble.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for u := 1; u <= users; u++ {
		infos, err := store.Chats(t.Context(), []chat.ID{chat.DirectChat(1, chat.UserID(u))})
		if err != nil || infos[0].Head < each {
			t.Errorf("user %d: %+v, %v; %d were acknowledged", u, infos, err, each)
		}
	}
}

// pipes is a server in a bubble, on a disk in memory and connections in memory.
type pipes struct {
	*server
	t     *testing.T
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	work  sync.WaitGroup
}

// Accept, Close and Addr implement net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func servePipes(t *testing.T, fs vfs.FS, change ...func(*config.Config)) *pipes {
	t.Helper()
	cfg := config.Default()
	cfg.Data = t.TempDir()
	for _, f := range change {
		f(&cfg)
	}
	log := slog.New(slog.DiscardHandler)
	store, err := pebble.Open("data", pebble.Options{FS: fs, MemTable: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := newParts(&cfg, log, store)
	if err != nil {
		t.Fatal(err)
	}
	p := &pipes{server: &server{parts: parts, cfg: &cfg, failed: make(chan error, 1)}, t: t, conns: make(chan net.Conn), done: make(chan struct{})}
	if p.server.broker, err = broker.New(brokerConfig(&cfg, log), parts.engine, parts.users); err != nil {
		t.Fatal(err)
	}
	p.http = p.newHTTP()
	p.engine.Start()
	p.work.Go(func() { p.served("MQTT", p.server.broker.ServeTCP(p), broker.ErrClosed) })
	return p
}

// growBuffer writes until the store's buffer, which begins small and doubles, is large
// enough for a whole test: Pebble holds a lock while it changes to another one, which
// a bubble's clock cannot pass if the disk is slow.
func growBuffer(t *testing.T, s storage.Store) {
	t.Helper()
	b := storage.Batch{Retained: []storage.Retained{{Topic: "filler", Body: make([]byte, 1<<20)}}}
	for range 40 {
		if err := s.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
}

// stop ends the server in order and expects no failure.
func (p *pipes) stop() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), shutdownTime)
	defer cancel()
	err := p.server.broker.Shutdown(ctx)
	p.work.Wait()
	if err = errors.Join(err, p.parts.close(ctx)); err != nil {
		p.t.Errorf("shutdown: %v", err)
	}
	select {
	case err := <-p.failed:
		p.t.Errorf("the server has failed: %v", err)
	default:
	}
}

func (p *pipes) dial(o mqttest.Options) *mqttest.Client {
	p.t.Helper()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	o.Conn, o.ClientID, o.Clean = ours, "phone", true
	c, err := mqttest.Dial(p.t.Context(), o)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// get asks for a page of the HTTP server.
func (p *pipes) get(path string) (status int, body string) {
	r := httptest.NewRecorder()
	p.http.Handler.ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
	return r.Code, r.Body.String()
}

// expect checks the status and a word of a page.
func (p *pipes) expect(path string, status int, word string) {
	p.t.Helper()
	if got, body := p.get(path); got != status || !strings.Contains(body, word) {
		p.t.Errorf("%s: %d %.100q, want %d %q", path, got, body, status, word)
	}
}

// acks notes the acknowledgements of one client.
type acks struct {
	mu      sync.Mutex
	ids     []uint16
	refused int
	slots   chan struct{} // one taken for each publish in flight
	taken   *gauge
}

func (a *acks) note(_ *mqttest.Client, ack *mqttest.Ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = append(a.ids, ack.ID)
	if ack.Code >= 0x80 {
		a.refused++
	}
	a.taken.add(-1)
	<-a.slots
}

// gauge counts what goes up and down, and the most that it was.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) add(n int64) {
	now := g.now.Add(n)
	for most := g.most.Load(); now > most && !g.most.CompareAndSwap(most, now); {
		most = g.most.Load()
	}
}

// TestSlowDisk: a sync that takes long delays answers. All publishes are
// acknowledged in order, also those of clients who send as much as they can; the
// batches grow, what the server takes without an answer is bounded, and nobody
// notices more than that it takes time.
func TestSlowDisk(t *testing.T) {
	for _, delay := range []time.Duration{50 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { testSlowDisk(t, delay) })
		})
	}
}

func testSlowDisk(t *testing.T, delay time.Duration) {
	const (
		users, each, inFlight = 20, 40, 10      // who keep to a window
		floods, flood, size   = 6, 450, 4 << 10 // who do not
		bound                 = 8 << 20 / size  // of what the server takes from them, in messages
		all                   = users*each + floods*flood
	)
	disk := baddisk.New(vfs.NewMem())
	p := servePipes(t, disk)
	var names []string
	for u := range users + floods {
		names = append(names, fmt.Sprint("user", u))
	}
	tokens := logins(t, p.parts, names...)
	growBuffer(t, p.store)
	before := p.engine.Stats().Batches.Load()
	var taken, ignored gauge
	var publishing sync.WaitGroup
	send := func(i, count, size int, version byte, a *acks) {
		c := p.dial(mqttest.Options{User: names[i], Password: tokens[i], Version: version, OnAck: a.note})
		payload := bytes.Repeat([]byte("x"), size)
		publishing.Go(func() {
			for n := range count {
				a.slots <- struct{}{}
				a.taken.add(1)
				if err := c.Publish(&mqttest.Publish{Topic: "u/user0", ID: uint16(n + 1), QoS: 1, Payload: payload}); err != nil {
					t.Errorf("%s: %v", names[i], err)
					return
				}
			}
			for range cap(a.slots) { // until all are acknowledged
				a.slots <- struct{}{}
			}
			c.Disconnect()
			if err := c.Err(); !errors.Is(err, mqttest.ErrClosed) {
				t.Errorf("%s: the connection has ended: %v", names[i], err)
			}
			if len(a.ids) != count || !slices.IsSorted(a.ids) || a.refused > 0 {
				t.Errorf("%s: %d acknowledgements, in order: %v, %d refusals", names[i], len(a.ids), slices.IsSorted(a.ids), a.refused)
			}
		})
	}
	disk.Slow(delay)
	begun := time.Now()
	for u := range users {
		send(u, each, 10, mqttest.V5, &acks{slots: make(chan struct{}, inFlight), taken: &ignored})
	}
	for f := range floods {
		send(users+f, flood, size, mqttest.V311, &acks{slots: make(chan struct{}, flood), taken: &taken})
	}
	published := make(chan struct{})
	go func() {
		publishing.Wait()
		close(published)
	}()
	for done := false; !done; {
		p.expect("/readyz", http.StatusOK, "ok")
		select {
		case <-published:
			done = true
		case <-time.After(delay / 3):
		}
	}
	syncs := uint64(time.Since(begun) / delay)
	if n := p.engine.Stats().Batches.Load() - before; n > syncs+5 || n*20 > all {
		t.Errorf("%d batches for %d publishes in the time of %d syncs", n, all, syncs)
	}
	if n := taken.most.Load(); n > bound {
		t.Errorf("the server has taken %d messages without an answer, want %d at most", n, bound)
	}
	disk.Slow(0)
	p.stop()
}

// TestStalledDisk: while the disk stands still a publish is neither acknowledged nor
// refused, deliveries of what is in memory go on, and after a while load balancers
// are told. When the disk is back the publish goes through.
func TestStalledDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := baddisk.New(vfs.NewMem())
		p := servePipes(t, disk)
		tokens := logins(t, p.parts, "alice", "bob")
		a := &acks{slots: make(chan struct{}, 100), taken: &gauge{}}
		alice := p.dial(mqttest.Options{User: "alice", Password: tokens[0], OnAck: a.note, KeepAlive: 60})
		publish := func(n uint16) {
			a.slots <- struct{}{}
			if err := alice.Publish(&mqttest.Publish{Topic: "u/bob", ID: n, QoS: 1, Payload: fmt.Append(nil, n)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		acked := func(want ...uint16) {
			t.Helper()
			a.mu.Lock()
			defer a.mu.Unlock()
			if !slices.Equal(a.ids, want) || a.refused > 0 {
				t.Errorf("acknowledged are %v, %d of them refused, want %v", a.ids, a.refused, want)
			}
		}
		publish(1)
		acked(1)
		p.expect("/metrics", http.StatusOK, "\ntidings_store_stalled 0\n")
		for range 2 {
			a.ids = nil
			release := disk.Stall()
			publish(2)
			publish(3)
			<-time.After(4 * time.Second)
			p.expect("/readyz", http.StatusOK, "ok")
			<-time.After(2 * time.Second)
			p.expect("/readyz", http.StatusServiceUnavailable, "disk does not answer")
			p.expect("/livez", http.StatusOK, "ok")
			p.expect("/metrics", http.StatusOK, "\ntidings_store_stalled 1\n")
			if err := alice.Ping(t.Context()); err != nil {
				t.Errorf("ping: %v", err)
			}
			<-time.After(4 * time.Second)
			acked()
			release()
			synctest.Wait()
			acked(2, 3)
			p.expect("/readyz", http.StatusOK, "ok")
			p.expect("/metrics", http.StatusOK, "\ntidings_store_stalled 0\n")
		}
		_, body := p.get("/metrics")
		var within, all int
		for line := range strings.Lines(body) {
			_, _ = fmt.Sscanf(line, `tidings_commit_seconds_bucket{le="5"} %d`, &within)
			_, _ = fmt.Sscanf(line, "tidings_commit_seconds_count %d", &all)
		}
		if within == 0 || all-within != 2 {
			t.Errorf("of %d commits %d took no longer than 5 s, want all but 2", all, within)
		}
		bob := p.dial(mqttest.Options{User: "bob", Password: tokens[1]})
		defer bob.Drop()
		if _, err := bob.Subscribe(t.Context(), "u/bob"); err != nil {
			t.Error(err)
		}
		alice.Drop()
		p.stop()
	})
}

// TestFullDiskStaysReady: a full disk refuses publishes; what is waiting is still
// delivered, so clients are still sent here.
func TestFullDiskStaysReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		free := func(mib uint64) {
			mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: mib << 20, TotalBytes: 100 << 30})
			<-time.After(2 * time.Second) // until the store has looked
		}
		free(1000)
		p := servePipes(t, mem)
		tokens := logins(t, p.parts, "alice", "bob")
		bob := p.dial(mqttest.Options{User: "bob", Password: tokens[1], SessionExpiry: 3600})
		if _, err := bob.Subscribe(t.Context(), "u/bob"); err != nil {
			t.Fatal(err)
		}
		bob.Drop()
		alice := p.dial(mqttest.Options{User: "alice", Password: tokens[0]})
		defer alice.Drop()
		publish := func(text string, want byte) {
			t.Helper()
			if ack, err := alice.PublishWait(t.Context(), &mqttest.Publish{Topic: "u/bob", Payload: []byte(text), QoS: 1}); err != nil || ack.Code != want {
				t.Errorf("publish: %+v, %v, want code %#02x", ack, err, want)
			}
		}
		publish("before", 0)
		free(50)
		publish("on a full disk", 0x97)
		p.expect("/readyz", http.StatusOK, "publishes are refused")
		p.expect("/metrics", http.StatusOK, "\ntidings_store_writable 0\n")
		ours, theirs := net.Pipe()
		p.conns <- theirs
		bob, err := mqttest.Dial(t.Context(), mqttest.Options{Conn: ours, ClientID: "phone", User: "bob", Password: tokens[1], SessionExpiry: 3600})
		if err != nil {
			t.Fatal(err)
		}
		defer bob.Drop()
		if m := next(t, t.Context(), bob); !strings.Contains(string(m.Payload), "before") {
			t.Errorf("got %s", m.Payload)
		}
		free(1000)
		p.expect("/readyz", http.StatusOK, "ok\n")
		publish("after", 0)
		p.stop()
	})
}
