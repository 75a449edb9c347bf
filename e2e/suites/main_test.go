package suites_test

import (
	"bufio"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"tidings/internal/mqttest/server"
)

// start starts a server for one suite and returns the address of its conformance listener. At the end of the test the
// server must still be there, stop when it is told to, and have logged no fault.
func start(t *testing.T) string {
	t.Helper()
	addr, err := server.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(t.Context(), server.Config{Dir: t.TempDir(), Args: []string{"--conformance", addr}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if !s.Running() {
			t.Error("the server ended during the suite")
		} else if code, err := s.Stop(ctx); code != 0 || err != nil {
			t.Errorf("the server ended with %d, %v", code, err)
		}
		for _, fault := range faultsIn(t, s.LogFile()) {
			t.Errorf("logged: %s", fault)
		}
	})
	return addr
}

// faultsIn returns the first lines of a log that speak of a fault of the server.
func faultsIn(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bad []string
	for lines := bufio.NewScanner(f); lines.Scan() && len(bad) < 10; {
		if l := lines.Text(); strings.Contains(l, "level=ERROR") || strings.Contains(l, "panic") || strings.Contains(l, "DATA RACE") {
			bad = append(bad, l)
		}
	}
	return bad
}
