package server

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
)

// End stops the server, which has to be orderly, and returns the faults that its log
// tells of. A server that does not run any more is one.
func (s *Server) End(ctx context.Context) error {
	code, err := s.Stop(ctx)
	switch {
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("exit code %d", code)
	}
	return Faults(s.LogFile())
}

// Faults returns an error with the first lines of a server's log that speak of a fault
// of the server; nil if there are none.
func Faults(log string) error {
	f, err := os.Open(log)
	if err != nil {
		return err
	}
	defer f.Close()
	var bad []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if l := lines.Text(); strings.Contains(l, "level=ERROR") || strings.Contains(l, "panic") || strings.Contains(l, "DATA RACE") {
			bad = append(bad, l)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(bad) > 0 {
		return fmt.Errorf("log has errors:\n%s", strings.Join(bad[:min(len(bad), 10)], "\n"))
	}
	return nil
}
