package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest/server"
)

// TestMain plays the server when the tests below start this binary as one.
func TestMain(m *testing.M) {
	if os.Getenv("PLAY_SERVER") == "" {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case "serve":
		playServe(os.Args[7])
	case "device":
		enc := json.NewEncoder(os.Stdout)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			user, device, _ := strings.Cut(in.Text(), " ")
			enc.Encode(server.Login{User: user, Device: device, Token: user + device})
		}
	case "user":
		fmt.Fprintln(os.Stderr, "name is taken")
		os.Exit(1)
	}
}

func playServe(addr string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# HELP a b\na{x=\"1 2\"} 1\na{x=\"3\"} 2\nb 1e+03\n")
	})
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(addr, nil))
		os.Exit(2)
	}()
	<-stop
	os.Exit(7)
}

func play(t *testing.T) server.Config {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return server.Config{Bin: exe, Env: []string{"PLAY_SERVER=1"}}
}

func TestKillAndStartAgainOnTheSamePorts(t *testing.T) {
	s := server.Run(t, play(t))
	mqtt, first := s.MQTT(), s.PID()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if s.Running() || s.PID() != 0 {
		t.Error("still running after Kill")
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.PID() == first || s.PID() == 0 || s.MQTT() != mqtt {
		t.Errorf("process %d then %d, address %s then %s", first, s.PID(), mqtt, s.MQTT())
	}
}

func TestStopReturnsTheExitCode(t *testing.T) {
	s := server.Run(t, play(t))
	if code, err := s.Stop(t.Context()); code != 7 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestStartFailsWhenTheProcessEnds(t *testing.T) {
	cfg := play(t)
	cfg.HTTP = server.Run(t, cfg).HTTP() + "0000" // no such port
	cfg.Dir = t.TempDir()
	s, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "ended before") {
		t.Errorf("error %v", err)
	}
}

func TestLogins(t *testing.T) {
	s := server.Run(t, play(t))
	got, err := s.AddDevices(t.Context(), server.Device{User: "alice", Device: "phone"}, server.Device{User: "bob", Device: "tab"})
	if err != nil {
		t.Fatal(err)
	}
	want := []server.Login{{User: "alice", Device: "phone", Token: "alicephone"}, {User: "bob", Device: "tab", Token: "bobtab"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
	if err := s.AddUsers(t.Context(), "alice"); err == nil || !strings.Contains(err.Error(), "name is taken") {
		t.Errorf("error of a failing verb: %v", err)
	}
}

func TestMetricSumsLabelSets(t *testing.T) {
	s := server.Run(t, play(t))
	if v, err := s.Metric(t.Context(), "a"); v != 3 || err != nil {
		t.Errorf("a = %v, %v", v, err)
	}
	if v, err := s.Metric(t.Context(), "b"); v != 1000 || err != nil {
		t.Errorf("b = %v, %v", v, err)
	}
	if _, err := s.Metric(t.Context(), "c"); err == nil {
		t.Error("a missing metric is no error")
	}
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		log   string
		fault bool
	}{
		"nothing":   {"time=1 level=INFO msg=ready\ntime=2 level=WARN msg=\"request failed\"\n", false},
		"an error":  {"time=1 level=INFO msg=ready\ntime=2 level=ERROR msg=\"append failed\"\n", true},
		"a race":    {"==================\nWARNING: DATA RACE\n", true},
		"last line": {"panic: runtime error", true},
	} {
		file := filepath.Join(t.TempDir(), "server.log")
		if err := os.WriteFile(file, []byte(tt.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := server.Faults(file); (err != nil) != tt.fault {
			t.Errorf("%s: %v", name, err)
		}
	}
}
