package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"tidings/config"
	"tidings/storage"
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

// explainInUse adds to an error about a data directory in use who uses it.
func explainInUse(ctx context.Context, cfg *config.Config, err error) error {
	if !errors.Is(err, storage.ErrInUse) {
		return err
	}
	c := dialControl(ctx, cfg.Data)
	if c == nil {
		return fmt.Errorf("%w; it does not answer on its control socket, so it is an operator's command, or a server that starts or stops: try again", err)
	}
	defer c.close()
	s, statusErr := c.status(ctx)
	if statusErr != nil {
		return err
	}
	return fmt.Errorf("%w; it is a server with process id %d, MQTT on %s and HTTP on %s", err, s.PID, s.MQTT, s.HTTP)
}

func cutAddress(addr string) (host, port string, err error) { return net.SplitHostPort(addr) }
