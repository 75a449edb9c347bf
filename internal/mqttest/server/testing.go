package server

import (
	"os"
	"strings"
	"testing"

	"tidings/internal/mqttest"
)

// Run starts a server for one test: in a temporary directory where cfg names none, killed at the end of the test, with the
// tail of its log in the output of a test that failed.
func Run(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("server log:\n%s", s.logTail())
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Server) logTail() string {
	b, err := os.ReadFile(s.LogFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// Login makes a user, if it does not exist yet, and a device of it.
func (s *Server) Login(t testing.TB, user, device string) Login {
	t.Helper()
	// A second device of a user meets a user that exists; a real failure shows at the device.
	userErr := s.AddUsers(t.Context(), user)
	logins, err := s.AddDevices(t.Context(), Device{user, device})
	if err != nil {
		t.Fatalf("login %s %s: %v (user: %v)", user, device, err, userErr)
	}
	return logins[0]
}

// Connect opens a connection of a login; o's address, user name, client identifier and password are filled in. The
// connection is dropped at the end of the test.
func (s *Server) Connect(t testing.TB, l Login, o mqttest.Options) *mqttest.Client {
	t.Helper()
	o.Addr, o.User, o.ClientID, o.Password = s.MQTT(), l.User, l.Device, l.Token
	c, err := mqttest.Dial(t.Context(), o)
	if err != nil {
		t.Fatalf("connect %s %s: %v", l.User, l.Device, err)
	}
	t.Cleanup(c.Drop)
	return c
}
