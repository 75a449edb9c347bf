package conformance_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"tidings/internal/mqttest/server"
)

var other = flag.String("server", "", "address of another MQTT server to test")

// shared is the server of all tests, started by the first that asks.
var shared struct {
	once sync.Once
	dir  string
	addr string // of the conformance listener
	srv  *server.Server
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "tidings-conformance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared.dir = dir
	code := m.Run()
	if err := endShared(); err != nil {
		fmt.Fprintln(os.Stderr, "the server:", err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// address is where the server under test listens.
func address(t testing.TB) string {
	t.Helper()
	if *other != "" {
		return *other
	}
	shared.once.Do(func() { shared.err = startShared(context.WithoutCancel(t.Context())) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.addr
}

func startShared(ctx context.Context) error {
	addr, err := server.FreeAddr()
	if err != nil {
		return err
	}
	shared.addr = addr
	shared.srv, err = server.New(ctx, server.Config{Dir: shared.dir, Args: []string{"--conformance", addr}})
	if err != nil {
		return err
	}
	return shared.srv.Start(ctx)
}

// endShared stops the server and checks that nothing in all the tests made it fail.
func endShared() error {
	if shared.srv == nil || shared.err != nil {
		return shared.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return shared.srv.End(ctx)
}
