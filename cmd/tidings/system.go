package main

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"tidings/config"
)

// raiseFileLimit raises how many files this process may have open to the most
// that it may raise it to, and returns that: each connection is one.
func raiseFileLimit() (uint64, error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	if lim.Cur < lim.Max {
		raised := lim
		raised.Cur = raised.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
			return lim.Cur, err
		}
		lim = raised
	}
	return lim.Cur, nil
}

// How long a command waits for an operator's one, or for a server that starts or
// stops, to let go of the data directory.
const (
	inUseWait  = 10 * time.Second
	inUsePause = 50 * time.Millisecond
)

// whileInUse calls try until it does not want to be called again, for at most
// inUseWait, and returns its last error.
func whileInUse(ctx context.Context, try func() (again bool, err error)) error {
	deadline := time.Now().Add(inUseWait)
	for {
		again, err := try()
		if !again || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(inUsePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// explainInUse adds to an error about a data directory in use who uses it, and tells
// whether that is a server, which goes on using it.
func explainInUse(ctx context.Context, cfg *config.Config, err error) (running bool, explained error) {
	c := dialControl(ctx, cfg.Data)
	if c == nil {
		return false, fmt.Errorf("%w; it does not answer on its control socket, so it is an operator's command, or a server that starts or stops: try again", err)
	}
	defer c.close()
	s, statusErr := c.status(ctx)
	if statusErr != nil {
		return true, err
	}
	return true, fmt.Errorf("%w; it is a server with process id %d, MQTT on %s and HTTP on %s", err, s.PID, s.MQTT, s.HTTP)
}

func cutAddress(addr string) (host, port string, err error) { return net.SplitHostPort(addr) }
