package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// object decodes one line of JSON.
func object(t testing.TB, line string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(line), &out); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return out
}

// exitCode runs a verb that has to fail and returns its exit code and what it printed on standard error.
func (w *world) exitCode(stdin string, args ...string) (int, string) {
	w.t.Helper()
	out, err := w.CLI(w.t.Context(), stdin, args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		w.t.Fatalf("%s: %v, want it to fail; it printed %s", strings.Join(args, " "), err, out)
	}
	return exit.ExitCode(), err.Error()
}

// The verbs do the same whether a server has the data directory or not.
func TestVerbs(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("server running %v", running), func(t *testing.T) {
			w := newWorld(t, server.Config{})
			if !running {
				w.stop()
			}
			w.verbs()
			if !running {
				w.start()
			}
			w.afterVerbs()
		})
	}
}

func (w *world) verbs() {
	t := w.t
	t.Helper()
	w.cli("alice-word\n", "user", "add", "alice", "--password-stdin", "--title", "Alice")
	w.cli("", "user", "add", "bob")
	w.cli("dave\nerin\n\n# nobody\n"[:10], "user", "add", "-")
	w.cli("", "user", "add", "carol", "-o", "json")
	if code, text := w.exitCode("", "user", "add", "alice"); code != 1 || !strings.Contains(text, "exists") {
		t.Errorf("a name twice: exit code %d, %s", code, text)
	}
	if code, text := w.exitCode("", "user", "add", "No Name"); code != 1 || !strings.Contains(text, "a name is") {
		t.Errorf("a bad name: exit code %d, %s", code, text)
	}
	if code, _ := w.exitCode("", "user", "ad", "x"); code != 2 {
		t.Errorf("a verb that is none: exit code %d", code)
	}
	w.cli("", "user", "disable", "bob")
	w.cli("", "user", "disable", "carol")
	w.cli("", "user", "enable", "carol")
	w.cli("carol-word\n", "user", "passwd", "carol", "--password-stdin")
	w.cli("", "user", "remove", "dave")
	states := map[string]any{}
	for _, l := range lines(w.cli("", "user", "list", "-o", "json")) {
		u := object(t, l)
		states[u["user"].(string)] = fmt.Sprint(u["state"], " ", u["password"])
	}
	want := map[string]any{"alice": "active true", "bob": "disabled false", "carol": "active true", "dave": "removed false", "erin": "active false"}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("user list (-want +got):\n%s", diff)
	}

	d := object(t, w.cli("", "device", "add", "erin", "phone", "-o", "json"))
	if len(d) != 3 || d["user"] != "erin" || d["device"] != "phone" || len(d["token"].(string)) < 20 {
		t.Errorf("device add printed %v", d)
	}
	w.cli("", "device", "add", "erin", "laptop")
	w.cli("", "device", "revoke", "erin", "laptop")
	list := lines(w.cli("", "device", "list", "erin", "-o", "json"))
	if len(list) != 1 || object(t, list[0])["device"] != "phone" {
		t.Errorf("device list printed %q", list)
	}
	if code, text := w.exitCode("", "device", "add", "nobody", "phone"); code != 1 || !strings.Contains(text, "not_found") {
		t.Errorf("device of nobody: exit code %d, %s", code, text)
	}
	if v := object(t, w.cliAlone("version", "-o", "json")); v["version"] == nil {
		t.Errorf("version printed %v", v)
	}
}

// cliAlone runs a verb that needs no data directory.
func (w *world) cliAlone(args ...string) string {
	w.t.Helper()
	bin, err := server.Build(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := exec.CommandContext(w.t.Context(), bin, args...).Output()
	if err != nil {
		w.t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// afterVerbs sees that the server acts on what the verbs did, and lists its groups with them.
func (w *world) afterVerbs() {
	t := w.t
	t.Helper()
	alice := w.online(server.Login{User: "alice", Device: "laptop", Token: "alice-word"}, v3)
	w.online(server.Login{User: "carol", Device: "laptop", Token: "carol-word"}, v5)
	for _, l := range []server.Login{{User: "bob", Token: "x"}, {User: "dave", Token: "x"}, {User: "erin", Token: "x"}} {
		l.Device = "laptop"
		if code := w.refusedLogin(l, v5, options(v5)); code != 0x86 {
			t.Errorf("login of %s: %#02x", l.User, code)
		}
	}
	alice.call("group.create", map[string]any{"group": "team", "title": "Team", "members": []string{"carol"}}, nil)
	if g := object(t, lines(w.cli("", "group", "list", "-o", "json"))[0]); g["group"] != "team" || g["title"] != "Team" {
		t.Errorf("group list printed %v", g)
	}
	g := object(t, w.cli("", "group", "show", "team", "-o", "json"))
	if g["count"] != 2.0 || fmt.Sprint(g["members"]) != "[map[role:owner user:alice] map[role:member user:carol]]" {
		t.Errorf("group show printed %v", g)
	}
	for _, args := range [][]string{{"user", "list"}, {"group", "list"}, {"group", "show", "team"}, {"device", "list", "alice"}} {
		if out := w.cli("", args...); !strings.Contains(out, "alice") && !strings.Contains(out, "team") && !strings.Contains(out, "laptop") {
			t.Errorf("%v printed %s", args, out)
		}
	}
	w.cli("", "user", "disable", "alice")
	if code := alice.ended(); code != 0 {
		t.Errorf("3.1.1 was told %#02x", code)
	}
}

// A load test's logins are set up in seconds.
func Test10000Logins(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("server running %v", running), func(t *testing.T) {
			w := newWorld(t, server.Config{})
			if !running {
				w.stop()
			}
			const n = 10_000
			begin := time.Now()
			users := lines(w.cli("", "user", "add", "--count", fmt.Sprint(n), "--prefix", "load", "-o", "json"))
			var in strings.Builder
			for _, l := range users {
				fmt.Fprintf(&in, "%s phone\n", object(t, l)["user"])
			}
			devices := lines(w.cli(in.String(), "device", "add", "-", "-o", "json"))
			t.Logf("%d users and devices in %v", n, time.Since(begin).Round(time.Millisecond))
			if len(users) != n || len(devices) != n {
				t.Fatalf("%d users, %d devices", len(users), len(devices))
			}
			if !running {
				w.start()
			}
			d := object(t, devices[n-1])
			w.online(server.Login{User: d["user"].(string), Device: "phone", Token: d["token"].(string)}, v5)
			if more := lines(w.cli("", "device", "add", "--count", "3", "--prefix", "load", "--device", "tablet", "-o", "json")); len(more) != 3 {
				t.Errorf("device add --count printed %q", more)
			}
		})
	}
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	for path, want := range map[string]string{"/livez": "ok", "/readyz": "ok", "/version": `"version"`, "/metrics": "# TYPE tidings_"} {
		if code, text := get(t, "http://"+w.HTTP()+path); code != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %.200s", path, code, text)
		}
	}
	if code, _ := get(t, "http://"+w.HTTP()+"/nothing"); code != 404 {
		t.Errorf("/nothing: %d", code)
	}
	if code, _ := get(t, "http://"+w.HTTP()+"/mqtt"); code < 400 {
		t.Errorf("/mqtt without an upgrade: %d", code)
	}
}

func TestSIGTERM(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	ls := w.logins("alice/laptop", "alice/web", "alice/phone", "alice/old", "bob/phone")
	var cs []*client
	for i, m := range allModes {
		cs = append(cs, w.online(ls[i], m))
	}
	cs[0].send(user(ls[4]), "kept")
	w.stop() // exit code 0 within 5 s
	for i, c := range cs {
		if code := c.ended(); allModes[i].version == mqttest.V5 && code != 0x8b {
			t.Errorf("%s: ended with %#02x, want 0x8b", allModes[i].name, code)
		}
	}
	if err := server.Faults(w.LogFile()); err != nil {
		t.Error(err)
	}
	w.start()
	w.online(ls[4], v3).texts(user(ls[4]), "kept")
}

// Every option is a flag, a key of the file and a variable.
func TestOptions(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]server.Config{
		"file":     {Args: withConfig(t, "limits:\n  body: 1KiB\n")},
		"variable": {Env: []string{"TIDINGS_LIMITS_BODY=1KiB"}},
		"flag":     {Args: []string{"--limits-body", "1KiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cfg)
			alice := w.online(w.logins("alice/laptop")[0], v5)
			alice.send(alice.me(), strings.Repeat("x", 1024))
			alice.refused(mqttest.Publish{Topic: alice.me(), Payload: []byte(strings.Repeat("x", 1025))}, 0x97, "too_large")
		})
	}
}
