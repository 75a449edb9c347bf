package e2e_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/internal/mqttest/server"
)

// demo is a running `make run` or `tidings demo`.
type demo struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	done  chan struct{}
}

// startDemo starts a command in a process group of its own and reads what it prints up to the end of the box.
func startDemo(t *testing.T, name string, args ...string) (*demo, []string) {
	t.Helper()
	d := &demo{t: t, cmd: exec.Command(name, args...), done: make(chan struct{})}
	d.cmd.Dir = root(t)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	d.cmd.Stderr = os.Stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.end(syscall.SIGKILL) })
	var box []string
	begin := time.Time{}
	for d.lines = bufio.NewScanner(out); d.lines.Scan(); {
		line := d.lines.Text()
		if strings.HasPrefix(line, "+--") {
			if begin.IsZero() {
				begin = time.Now()
				continue
			}
			return d, box
		}
		if inner, ok := strings.CutPrefix(line, "| "); ok {
			box = append(box, strings.TrimSpace(strings.TrimSuffix(inner, "|")))
		}
	}
	t.Fatalf("the demo printed no box: %q", box)
	return nil, nil
}

// end stops the demo as Ctrl-C does, all of the process group, and waits for it.
func (d *demo) end(sig syscall.Signal) {
	select {
	case <-d.done:
		return
	default:
	}
	_ = syscall.Kill(-d.cmd.Process.Pid, sig) // it may be gone
	for d.lines.Scan() {
	}
	_ = d.cmd.Wait() // make's exit code tells nothing
	close(d.done)
}

func TestDemo(t *testing.T) {
	t.Parallel()
	tool(t, "mosquitto_sub")
	bash, mk := tool(t, "bash"), tool(t, "make")
	w := &world{t: t}
	cfg := server.Config{Dir: t.TempDir()}
	address(&cfg)
	var err error
	if w.Server, err = server.New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	d, box := startDemo(t, mk, "--no-print-directory", "run", "MQTT="+w.MQTT(), "HTTP="+w.HTTP(), "DEMO_DATA="+w.Data())
	text := strings.Join(box, "\n")
	for _, word := range []string{w.MQTT(), "ws://" + w.HTTP() + "/mqtt", "alice", "frank", "NAME-demo", "team", "echo"} {
		if !strings.Contains(text, word) {
			t.Errorf("the box does not tell %q:\n%s", word, text)
		}
	}

	t.Run("the commands work as printed", func(t *testing.T) {
		commands := slices.DeleteFunc(slices.Clone(box), func(l string) bool { return !strings.HasPrefix(l, "mosquitto_") })
		if len(commands) != 5 {
			t.Fatalf("%d commands in the box", len(commands))
		}
		w.in(t).paste(bash, commands[:3], map[string]string{"u/bob": "hi", "g/team": "hi all"}, func(line string) (topic, text string) {
			topic, e := parse(t, line)
			if e.From != "alice" {
				return topic, ""
			}
			return topic, e.text()
		})
		w.in(t).paste(bash, commands[3:], map[string]string{"open/kitchen/temp": "21"}, func(line string) (topic, text string) {
			topic, text, _ = strings.Cut(line, " ")
			return topic, text
		})
	})
	t.Run("everybody can log in and is in the team", func(t *testing.T) {
		for _, name := range []string{"alice", "bob", "carol", "dave", "erin", "frank"} {
			c := w.in(t).online(demoLogin(name, "test"), v5)
			c.send("g/team", "from "+name)
			c.Disconnect()
		}
	})
	alice := w.online(demoLogin("alice", "test"), v3)
	t.Run("echo answers", func(t *testing.T) {
		alice.send("u/echo", "anybody there?")
		alice.await("the echo", func(m *message) bool { return m.From == "echo" && m.text() == "anybody there?" })
	})

	begin := time.Now()
	d.end(syscall.SIGINT)
	t.Logf("stopped within %v", time.Since(begin).Round(time.Millisecond))
	alice.ended()
	bin, err := server.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	_, again := startDemo(t, bin, "demo", "--data", w.Data(), "--mqtt", w.MQTT(), "--http", w.HTTP())
	t.Logf("ready within %v of the start", time.Since(begin).Round(time.Millisecond))
	if strings.Join(again, "\n") != text {
		t.Errorf("the second start printed\n%s", strings.Join(again, "\n"))
	}
	alice = w.online(demoLogin("alice", "test"), v5)
	if p := alice.history(map[string]any{"chat": "u/bob"}); len(p.Messages) != 1 || p.Messages[0].text() != "hi" {
		t.Errorf("after the restart the chat holds %+v", p)
	}
	alice.send("u/echo", "still there?")
	alice.await("the echo", func(m *message) bool { return m.From == "echo" && m.text() == "still there?" })
	n := 0
	for _, e := range alice.history(map[string]any{"chat": "u/echo"}).Messages {
		if e.From == "echo" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("echo has answered %d times", n)
	}
}

func demoLogin(name, device string) server.Login {
	return server.Login{User: name, Device: device, Token: name + "-demo"}
}

// paste runs printed commands: the first one goes on, the others send what it shows,
// of which read makes topic and text.
func (w *world) paste(bash string, commands []string, want map[string]string, read func(line string) (topic, text string)) {
	t := w.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sub := exec.CommandContext(ctx, bash, "-c", "exec "+commands[0])
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = sub.Process.Kill() // it runs until it is stopped
		_ = sub.Wait()
	}()
	for _, c := range commands[1:] {
		if out, err := exec.CommandContext(ctx, bash, "-c", c).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", c, err, out)
		}
	}
	for lines := bufio.NewScanner(out); len(want) > 0 && lines.Scan(); {
		if topic, text := read(lines.Text()); text == want[topic] {
			delete(want, topic)
		}
	}
	if len(want) > 0 {
		t.Errorf("did not see %v", want)
	}
}
