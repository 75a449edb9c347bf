package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Device names one login to be made.
type Device struct{ User, Device string }

// Login is what a client needs to connect: MQTT user name, client identifier and password.
type Login struct {
	User   string `json:"user"`
	Device string `json:"device"`
	Token  string `json:"token"`
}

// CLI runs an operator verb on this server's data directory, whether the server runs or not, and returns its standard
// output. The error carries standard error.
func (s *Server) CLI(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.cfg.Bin, append(args, "--data", s.Data())...)
	cmd.Env = append(os.Environ(), s.cfg.Env...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("tidings %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// AddUser makes a user with a password.
func (s *Server) AddUser(ctx context.Context, name, password string) error {
	_, err := s.CLI(ctx, password+"\n", "user", "add", name, "--password-stdin")
	return err
}

// AddUsers makes users that can only enter with device tokens.
func (s *Server) AddUsers(ctx context.Context, names ...string) error {
	_, err := s.CLI(ctx, strings.Join(names, "\n")+"\n", "user", "add", "-")
	return err
}

// AddDevices enrols devices and returns their logins in the same order.
func (s *Server) AddDevices(ctx context.Context, devices ...Device) ([]Login, error) {
	var lines strings.Builder
	for _, d := range devices {
		fmt.Fprintf(&lines, "%s %s\n", d.User, d.Device)
	}
	out, err := s.CLI(ctx, lines.String(), "device", "add", "-", "-o", "json")
	if err != nil {
		return nil, err
	}
	made := make(map[Device]Login, len(devices))
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var l Login
		if err := dec.Decode(&l); err != nil {
			return nil, fmt.Errorf("answer of device add: %w", err)
		}
		made[Device{l.User, l.Device}] = l
	}
	logins := make([]Login, len(devices))
	for i, d := range devices {
		l, ok := made[d]
		if !ok || l.Token == "" {
			return nil, fmt.Errorf("device add gave no token for %s %s", d.User, d.Device)
		}
		logins[i] = l
	}
	return logins, nil
}
