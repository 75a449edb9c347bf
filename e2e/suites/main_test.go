package suites_test

import (
	"context"
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
		if err := s.End(ctx); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	return addr
}
