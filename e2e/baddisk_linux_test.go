package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// A disk that refuses a write of the log: nothing is acknowledged any more, the server ends by itself and says why, and
// what it has acknowledged is there at the next start. The disk is the limit on the size of files, set while it runs.
func TestServerEndsWhenTheLogCannotBeWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	ls := w.logins("alice/laptop", "bob/phone")
	w.online(ls[1], v5).Disconnect()
	w.stop()
	bin, err := server.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), bin, "serve", "--data", w.Data(), "--mqtt", w.MQTT(), "--http", w.HTTP())
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is ready", func() bool {
		resp, err := http.Get("http://" + w.HTTP() + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	alice := w.connect(ls[0], v5)
	const limit = 256 << 10
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}
	var acked []string
	ctx, cancel := alice.context()
	defer cancel()
	for failed := false; ; {
		text := fmt.Sprintf("%d %s", len(acked), strings.Repeat("x", 8<<10))
		ack, err := alice.PublishWait(ctx, &mqttest.Publish{Topic: user(ls[1]), Payload: []byte(text), QoS: 1})
		switch {
		case err != nil:
			alice.Drop()
			if c, err := w.dial(ls[0], v5, options(v5)); err == nil { // it may still be ending
				alice, failed = c, true
				continue
			}
		case ack.Code >= 0x80:
			failed = true
			continue
		case failed:
			t.Error("a publish is acknowledged after one that could not be stored")
		default:
			if acked = append(acked, text); len(acked) > limit {
				t.Fatal("the limit has no effect")
			}
			continue
		}
		break
	}
	_ = cmd.Wait() // ended by itself, which the exit code tells
	says(t, cmd.ProcessState.ExitCode(), 1, log.String(), "storage is read-only", "check the disk", "file too large")

	w.start()
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	bob := w.online(ls[1], v5)
	bob.texts(bob.me(), acked...)
}
