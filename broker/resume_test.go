package broker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"tidings/broker"
	"tidings/delivery"
	"tidings/internal/mqttest"
	"tidings/storage"
	"tidings/storage/storagetest"
)

// realRun is a server with the real engine on in-memory connections, all of which are
// for conformance tests.
type realRun struct {
	*pipes
	engine *delivery.Engine
}

func startReal(t *testing.T, store storage.Store) *realRun {
	t.Helper()
	e, err := delivery.New(delivery.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	b, err := broker.New(broker.Config{}, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &realRun{&pipes{t: t, broker: b, plain: true}, e}
}

func (r *realRun) stop() {
	r.t.Helper()
	r.pipes.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.engine.Shutdown(ctx); err != nil {
		r.t.Errorf("shutdown of the engine: %v", err)
	}
}

// keepAlive pings until the client's connection ends.
func (r *realRun) keepAlive(c *mqttest.Client) {
	go func() {
		tick := time.NewTicker(30 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-c.Done():
				return
			case <-tick.C:
				if c.Ping(r.t.Context()) != nil {
					return
				}
			}
		}
	}()
}

// Wills of devices that were connected at the end of a server, or waited, are
// sent once by those that follow.
func TestWillsAreSentAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storagetest.NewModel()
		persistent := func(client string, w *mqttest.Will) mqttest.Options {
			return mqttest.Options{ClientID: client, SessionExpiry: 3600, Will: w}
		}
		r := startReal(t, store)
		sub := r.dial(persistent("sub", nil))
		if _, err := sub.Subscribe(t.Context(), "open/#"); err != nil {
			t.Fatal(err)
		}
		r.dial(persistent("stays", openWill(0)))
		r.dial(persistent("drops", openWill(600))).Drop()
		r.dial(persistent("returns", openWill(0)))
		r.dial(persistent("leaves", openWill(0))).Disconnect()
		synctest.Wait()
		r.stop()

		r = startReal(t, store)
		sub = r.dial(persistent("sub", nil))
		r.keepAlive(sub)
		begun := time.Now()
		returns := r.dial(persistent("returns", nil))
		for _, want := range []time.Duration{10 * time.Second, 600 * time.Second} {
			m, err := sub.Next(t.Context())
			if err != nil || string(m.Topic) != "open/gone" || m.QoS != 1 {
				t.Fatalf("got %+v %v", m, err)
			}
			if p, err := m.Properties(); err != nil || p.UserValue("k") != "v" || p.Strings[mqttest.PropContentType] != "c" {
				t.Errorf("properties %+v %v", p, err)
			}
			between(t, "will", time.Since(begun), want, want+2*time.Second)
		}
		if _, err := sub.Unsubscribe(t.Context(), "open/none"); err != nil { // behind what it has acknowledged
			t.Error(err)
		}
		returns.Disconnect()
		sub.Disconnect()
		r.stop()

		r = startReal(t, store)
		sub = r.dial(persistent("sub", nil))
		r.keepAlive(sub)
		time.Sleep(time.Hour)
		if n := sub.Waiting(); n > 0 {
			t.Errorf("%d wills are sent again", n)
		}
		sub.Disconnect()
		r.stop()
	})
}
