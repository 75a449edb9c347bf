package suites_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	paho = "github.com/eclipse/paho.mqtt.golang"
	// functional is the file of that module whose tests need a server; the others look at the client alone.
	functional = "fvt_client_test.go"
)

// leftOut are tests of the suite that say nothing about a server, or not reliably.
var leftOut = map[string]string{
	"Test_ConnectRetry":                             "asks the name service for a host 256.256.256.256 and waits for its answer",
	"Test_ConnectRetryPublish":                      "asks the name service, too",
	"Test_ResumeSubs":                               "asks the name service, too",
	"Test_MultipleURLs":                             "connects to port 10000 of this machine first, which may be anybody's",
	"Test_cleanUpMids":                              "looks at the client between sending and the answer, and fails when the answer is quicker",
	"Test_cleanUpMids_2":                            "the same",
	"Test_DisconnectWhileProcessingIncomingPublish": "gives the client a second to end a busy loop, and says itself that it fails under load",
}

// TestPahoForGo runs the functional tests of the Eclipse Paho client for Go. They speak MQTT 3.1.1.
func TestPahoForGo(t *testing.T) {
	t.Parallel()
	names := functionalTests(t)
	for name := range leftOut {
		if !slices.Contains(names, name) {
			t.Errorf("the suite has no %s to leave out", name)
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return leftOut[name] != "" })
	if len(names) == 0 {
		t.Fatal("no tests")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := goTool(ctx, "test", "-json", "-count=1", "-timeout=2m", "-run=^("+strings.Join(names, "|")+")$", paho)
	// The suite makes "tcp://" + address + ":1883" of it. The slash turns its port into a path, which TCP has no use for.
	cmd.Env = append(cmd.Env, "TEST_FVT_ADDR="+start(t)+"/")
	out, err := cmd.Output()
	results, output := outcomes(out)
	for _, name := range names {
		if results[name] != "pass" {
			t.Errorf("%s: %s\n%.4000s", name, cmp.Or(results[name], "did not finish"), output[name])
		}
	}
	if err != nil && !t.Failed() {
		t.Errorf("%v\n%s", err, out)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Logf("%v: %s", err, exit.Stderr)
	}
}

// goTool makes a go command that sees the suite's module as it is pinned and nothing else.
func goTool(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = "pahogo"
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	return cmd
}

// functionalTests returns the names of the suite's tests that need a server.
func functionalTests(t *testing.T) []string {
	t.Helper()
	// Like go test it downloads the module the first time.
	out, err := goTool(t.Context(), "list", "-f", "{{.Dir}}", paho).Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), functional))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
		names = append(names, string(m[1]))
	}
	return names
}

// outcomes reads what go test -json printed: how each test ended, and what it printed.
func outcomes(out []byte) (results, output map[string]string) {
	results, output = make(map[string]string), make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		switch e.Action {
		case "output":
			output[e.Test] += e.Output
		case "pass", "fail", "skip":
			results[e.Test] = e.Action
		}
	}
	return results, output
}
