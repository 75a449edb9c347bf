// Command tidings is the messaging server and the tool of its operators: `tidings
// serve` runs it, `tidings demo` runs it with a few users in it, and the other
// verbs work on the data directory of a server, whether it runs or not.
//
// # Exit codes
//
//	0  done
//	1  refused or failed; the message says why
//	2  the command line or the configuration is wrong
//	3  the data directory is in use by another process
//	4  the data directory cannot be opened by this version, or is damaged
//	5  an address to listen on is taken or not to be had
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"tidings/config"
	"tidings/storage"
)

// version is set by the build.
var version = "devel"

// The exit codes; see the package comment.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitInUse   = 3
	exitFormat  = 4
	exitAddress = 5
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}, os.Environ())
	stop()
	os.Exit(code)
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, io stdio, env []string) int {
	root := newRoot(&command{stdio: io, env: env})
	root.SetArgs(args)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		fmt.Fprintln(io.err, "tidings:", line)
	}
	if errors.Is(err, storage.ErrCorrupt) {
		fmt.Fprintln(io.err, "tidings: the data directory is damaged and was left as it is: look for a failing disk, and restore a backup")
	}
	return exitCode(err)
}

// usageError is a wrong command line or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// addressError is an address that cannot be listened on.
type addressError struct{ error }

func (e addressError) Unwrap() error { return e.error }

func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*config.Problem](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[addressError](err); ok {
		return exitAddress
	}
	switch {
	case errors.Is(err, storage.ErrInUse):
		return exitInUse
	case errors.Is(err, storage.ErrFormat), errors.Is(err, storage.ErrCorrupt):
		return exitFormat
	}
	return exitFailed
}
