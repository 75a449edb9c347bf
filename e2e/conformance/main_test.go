package conformance_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
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
	s := shared.srv
	if s == nil || !s.Running() {
		return shared.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if code, err := s.Stop(ctx); code != 0 || err != nil {
		return fmt.Errorf("exit code %d, %w", code, err)
	}
	return errorsIn(s.LogFile())
}

// errorsIn reports the lines of a log that speak of a fault of the server.
func errorsIn(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var bad []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if l := lines.Text(); strings.Contains(l, "level=ERROR") || strings.Contains(l, "panic") || strings.Contains(l, "DATA RACE") {
			bad = append(bad, l)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("log has errors:\n%s", strings.Join(bad[:min(len(bad), 10)], "\n"))
	}
	return nil
}
