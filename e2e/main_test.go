package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tidings/internal/mqttest/server"
)

var long = flag.Bool("long", false, "run the load tests at full size")

// shared is the server of all tests that need no restart and no settings of their own.
var shared struct {
	once sync.Once
	srv  *server.Server
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "tidings-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sharedDir = dir
	code := m.Run()
	if err := endShared(); err != nil {
		fmt.Fprintln(os.Stderr, "the shared server:", err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

var sharedDir string

// sharedWorld returns the shared server, started by the first test that asks.
func sharedWorld(t testing.TB) *world {
	t.Helper()
	shared.once.Do(func() {
		// The server outlives the test that happens to start it.
		ctx := context.WithoutCancel(t.Context())
		cfg := server.Config{Dir: sharedDir}
		address(&cfg)
		if shared.srv, shared.err = server.New(ctx, cfg); shared.err == nil {
			shared.err = shared.srv.Start(ctx)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return &world{Server: shared.srv, t: t}
}

// endShared stops the shared server and checks that nothing in all the tests made it fail.
func endShared() error {
	if shared.srv == nil || shared.err != nil {
		return shared.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return shared.srv.End(ctx)
}

// tool finds a program that the test drives; without it the test cannot run.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name)
	}
	return path
}

// missing ends a test that lacks a tool: with CI=true as a failure.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing: run scripts/deps", what)
}

// root is the directory of the module.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
