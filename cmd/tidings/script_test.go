package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets this test binary play the command `tidings` for the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tidings": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}, os.Environ())
		stop()
		os.Exit(code)
	}})
}

// TestScripts runs the command line as people do: testdata/*.txt.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"freeaddr": freeAddr,
			"get":      get,
			"await":    await,
			"count":    count,
			"taken":    taken,
			"longdir":  longDir,
		},
	})
}

// exits CODE ARG…: tidings ARG… ends with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits code arg...")
	}
	got := 0
	if err := ts.Exec("tidings", args[1:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("tidings: %v", err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// freeaddr VAR…: each variable becomes an address that nobody listens on.
func freeAddr(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		ts.Setenv(name, ln.Addr().String())
		ts.Check(ln.Close())
	}
}

// taken VAR: the variable becomes an address that somebody listens on until the
// script ends.
func taken(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv(args[0], ln.Addr().String())
}

// get URL: prints the answer's status and body. It waits for somebody to listen.
func get(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, args[0], http.NoBody)
		ts.Check(err)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			ts.Check(err)
			_, err = ts.Stdout().Write(append([]byte(resp.Status+"\n"), body...))
			ts.Check(err)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("get %s: %v", args[0], err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// await FILE [TEXT]: waits until the file is there and, if asked, holds the text;
// with ! until it is gone.
func await(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := os.Stat(ts.MkAbs(args[0]))
		ok := err == nil
		if ok && len(args) > 1 {
			text, err := os.ReadFile(ts.MkAbs(args[0]))
			ts.Check(err)
			ok = bytes.Contains(text, []byte(args[1]))
		}
		if ok != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("await %v: too late", args)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// count N FILE: the file has that many lines.
func count(ts *testscript.TestScript, _ bool, args []string) {
	if got := strings.Count(ts.ReadFile(args[1]), "\n"); strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s has %d lines, want %s", args[1], got, args[0])
	}
}

// longdir VAR: the variable becomes the path of a data directory that is too long
// for a socket's address.
func longDir(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], ts.MkAbs(strings.Repeat("a-directory-with-a-long-name/", 5)+"data"))
	ts.Check(os.MkdirAll(ts.MkAbs(strings.Repeat("a-directory-with-a-long-name/", 5)), 0o700))
}
