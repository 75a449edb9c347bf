package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"tidings/config"
)

var update = flag.Bool("update", false, "write docs/config.md")

// load reads a file with that content, named tidings.yaml in problems.
func load(t testing.TB, yaml string, env []string, args ...string) (config.Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("tidings.yaml", []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	set := pflag.NewFlagSet("tidings", pflag.ContinueOnError)
	config.RegisterFlags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load("tidings.yaml", env, set)
}

// problems returns the lines of an error, each of which must be a *Problem.
func problems(t testing.TB, err error) []string {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error is %T: %v, want joined problems", err, err)
	}
	var lines []string
	for _, err := range joined.Unwrap() {
		if _, ok := errors.AsType[*config.Problem](err); !ok {
			t.Errorf("%v is a %T", err, err)
		}
		lines = append(lines, err.Error())
	}
	return lines
}

func TestDefault(t *testing.T) {
	c := config.Default()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.MQTT != "127.0.0.1:1883" || c.Limits.Body != 256*config.KiB || c.Limits.Packet != 576*config.KiB ||
		c.CursorFlush != config.Duration(200*time.Millisecond) || c.Node == "" {
		t.Errorf("Default = %+v", c)
	}
	none, err := config.Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, none); diff != "" {
		t.Errorf("Load of nothing (-default +got):\n%s", diff)
	}
}

func TestEveryKeyIsNamedAndDescribed(t *testing.T) {
	seen := make(map[string]string)
	for _, k := range config.Keys() {
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: doc %q is not a sentence", k.Key, k.Doc)
		}
		for _, name := range []string{k.Env, k.Flag} {
			if other, taken := seen[name]; taken {
				t.Errorf("%s and %s are both %s", k.Key, other, name)
			}
			seen[name] = k.Key
		}
	}
	if seen["TIDINGS_AUTH_ARGON2_MEMORY"] == "" || seen["limits-unauthenticated-per-address"] == "" {
		t.Errorf("names are %v", seen)
	}
}

func TestDefaultsFileSaysTheDefaults(t *testing.T) {
	c, err := load(t, config.DefaultsFile(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), c); diff != "" {
		t.Errorf("(-default +file):\n%s", diff)
	}
	for _, k := range config.Keys() {
		name := k.Key[strings.LastIndexByte(k.Key, '.')+1:]
		if !strings.Contains(config.DefaultsFile(), name+": ") {
			t.Errorf("the file lacks %s", k.Key)
		}
	}
}

func TestPrecedence(t *testing.T) {
	const file = "limits:\n  inflight: 2\n  subscriptions: 2\n  devices_per_user: 2\nws:\n  origins: [a.example, b.example]\n"
	env := []string{"TIDINGS_LIMITS_SUBSCRIPTIONS=3", "TIDINGS_LIMITS_DEVICES_PER_USER=3", "TIDINGS_LIMITS_INFLIGHT=", "HOME=/"}
	c, err := load(t, file, env, "--limits-devices-per-user=9", "--limits-devices-per-user=4", "--log-level", "debug")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Limits.Inflight, want.Limits.Subscriptions, want.Limits.DevicesPerUser = 2, 3, 4
	want.Log.Level = "debug"
	want.WS.Origins = []string{"a.example", "b.example"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each setting can be given in each way, and means the same.
func TestEveryKeyInEveryWay(t *testing.T) {
	values := map[string]string{
		"mqtt": "127.0.0.1:7001", "http": "127.0.0.1:7002", "node": "n1", "retention": "30d", "data": "d",
		"log.level": "warn", "log.format": "json", "limits.packet": "1MiB", "ws.path": "/chat", "ws.origins": "*",
		"keepalive.min": "31s", "keepalive.max": "31m", "cursor_flush": "100ms", "store.cache": "65MiB", "store.reserve": "65MiB",
		"auth.argon2.memory": "20MiB", "limits.body": "255KiB", "limits.output_buffer": "255KiB",
		"limits.bytes_per_second": "9B", "limits.user_bytes_per_second": "9B",
		"open_topics": "open/#", "access": "deny * all open/a/#", "open.queue_policy": "refuse", "open.retained_bytes": "65MiB",
		"conformance":        "127.0.0.1:7003",
		"session_expiry_max": "9d", "connect_timeout": "9s", "write_timeout": "9s", "limits.burst": "9s",
	}
	for _, k := range config.Keys() {
		value, ok := values[k.Key]
		if !ok {
			value = "7"
		}
		t.Run(k.Key, func(t *testing.T) {
			parts := strings.Split(k.Key, ".")
			yaml := ""
			for i, part := range parts {
				yaml += "\n" + strings.Repeat(" ", i) + part + ":"
			}
			file, err1 := load(t, yaml+" '"+value+"'\n", nil)
			env, err2 := load(t, "", []string{k.Env + "=" + value})
			flag, err3 := load(t, "", nil, "--"+k.Flag+"="+value)
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(file, env); diff != "" {
				t.Errorf("(-file +environment):\n%s", diff)
			}
			if diff := cmp.Diff(file, flag); diff != "" {
				t.Errorf("(-file +flag):\n%s", diff)
			}
			if cmp.Equal(file, config.Default()) {
				t.Error("nothing changed")
			}
		})
	}
}

func TestProblems(t *testing.T) {
	for _, tc := range []struct {
		name, yaml string
		env, args  []string
		want       []string
	}{
		{"unknown key", "mqtt: 127.0.0.1:1\nlimits:\n  # a comment\n  bdy: 1KiB\n", nil, nil, []string{
			"tidings.yaml:4: limits.bdy: unknown key; did you mean limits.body?",
		}},
		{"unknown section", "\nlimit:\n  body: 1KiB\n", nil, nil, []string{"tidings.yaml:2: limit: unknown key; did you mean limits?"}},
		{"wrong section", "body: 1KiB\n", nil, nil, []string{"tidings.yaml:1: body: unknown key; did you mean limits.body?"}},
		{"key as a variable", "log_level: info\n", nil, nil, []string{"tidings.yaml:1: log_level: unknown key; did you mean log.level?"}},
		{"key that is like none", "log:\n  zzzzzzzzzzzzzzzzzzzz: 1\n", nil, nil, []string{
			"tidings.yaml:2: log.zzzzzzzzzzzzzzzzzzzz: unknown key; keys here are level, format",
		}},
		{
			"everything at once", "mqtt: nowhere\nlimits:\n  inflight: many\n  body: 3MB\nnode: Großer\nhtp: x\n",
			[]string{"TIDINGS_CONNECT_TIMEOUT=10", "TIDINGS_RETENTION=never"},
			[]string{"--log-level=loud", "--cursor-flush=1s", "--store-cache=1KiB"},
			[]string{
				`tidings.yaml:3: limits.inflight: "many" is not a whole number`,
				`tidings.yaml:4: limits.body: "3MB" is not a size such as 512B, 256KiB, 64MiB or 1GiB`,
				`tidings.yaml:6: htp: unknown key; did you mean http?`,
				`TIDINGS_CONNECT_TIMEOUT: connect_timeout: "10" is not a duration such as 200ms, 30s, 12h or 30d`,
				`--cursor-flush: cursor_flush: 1s is not between 1ms and 200ms`,
				`--log-level: log.level: "loud" is not one of debug, info, warn, error`,
				`--store-cache: store.cache: 1KiB is less than 1MiB`,
				`tidings.yaml:1: mqtt: "nowhere" is not an address such as 127.0.0.1:1883 or :1883`,
				`tidings.yaml:5: node: "Großer" is not 1 to 64 of a-z 0-9 . _ -, the first a letter or digit`,
				`TIDINGS_RETENTION: retention: "never" is not forever, delivered, or a duration of 1s or more such as 30d`,
			},
		},
		{"twice", "node: a\nnode: b\n", nil, nil, []string{"tidings.yaml:2: node: stands twice, first in line 1"}},
		{"no value", "node:\n", nil, nil, []string{"tidings.yaml:1: node: has no value"}},
		{"mapping for a value", "node:\n  a: b\n", nil, nil, []string{"tidings.yaml:2: node: want a single value"}},
		{"list for a value", "node: [a]\n", nil, nil, []string{"tidings.yaml:1: node: want a single value"}},
		{"mapping for a list", "ws:\n  origins: {a: b}\n", nil, nil, []string{"tidings.yaml:2: ws.origins: want a list of plain values"}},
		{"list in a list", "ws:\n  origins:\n  - a\n  - [b]\n", nil, nil, []string{"tidings.yaml:4: ws.origins: want a list of plain values without commas"}},
		{"value for a section", "limits: 3\n", nil, nil, []string{"tidings.yaml:1: limits: want lines of the form key: value here"}},
		{"no mapping at all", "- a\n- b\n", nil, nil, []string{"tidings.yaml:1: want lines of the form key: value here"}},
		{"no YAML", "node: a\n\tmqtt: b\n", nil, nil, []string{"tidings.yaml:2: found a tab character that violates indentation"}},
		{"two documents", "node: a\n---\nnode: b\n", nil, nil, []string{"tidings.yaml:2: a second document; a configuration is one"}},
		{"negative", "limits:\n  messages_per_second: -1\n", nil, nil, []string{"tidings.yaml:2: limits.messages_per_second: -1 is less than 0"}},
		{"too much", "limits:\n  inflight: 65536\n  packet: 1GiB\n", nil, nil, []string{
			"tidings.yaml:2: limits.inflight: 65536 is not between 1 and 65535", "tidings.yaml:3: limits.packet: 1GiB is more than 255MiB",
		}},
		{"packet below the body", "limits: {body: 100KiB, packet: 199KiB}\n", nil, nil, []string{
			"tidings.yaml:1: limits.packet: 199KiB is less than twice limits.body, which is 100KiB",
		}},
		{"same address", "mqtt: :7000\nhttp: :7000\n", nil, nil, []string{"tidings.yaml:2: http: is the same address as mqtt"}},
		{"port", "mqtt: 127.0.0.1:mqtt\n", nil, nil, []string{`tidings.yaml:1: mqtt: "127.0.0.1:mqtt" has no port from 0 to 65535`}},
		{"keep alive", "keepalive: {min: 10m, max: 1m}\n", nil, nil, []string{"tidings.yaml:1: keepalive.max: 1m is less than keepalive.min, which is 10m"}},
		{"argon2", "auth: {argon2: {memory: 16385B, threads: 3}}\n", nil, nil, []string{
			"tidings.yaml:1: auth.argon2.memory: 16385B is not whole KiB",
			"tidings.yaml:1: auth.argon2.memory: 16385B is less than 8KiB for each of auth.argon2.threads",
		}},
		{"path", "ws: {path: mqtt}\n", nil, nil, []string{`tidings.yaml:1: ws.path: "mqtt" is not a path such as /mqtt`}},
		{"nothing in a list", "ws: {origins: [~]}\n", nil, nil, []string{"tidings.yaml:1: ws.origins: want a list of plain values without commas"}},
		{"retention", "retention: 10ms\n", nil, nil, []string{
			`tidings.yaml:1: retention: "10ms" is not forever, delivered, or a duration of 1s or more such as 30d`,
		}},
		{"open topics", "open_topics:\n- open/#\n- u/#\n- ''\n- 'a#'\n", nil, nil, []string{
			`tidings.yaml:3: open_topics: filter 2: "u/#" is about topics of the platform: u/… cannot be open`,
			`tidings.yaml:5: open_topics: filter 3: "a#" is not a valid topic filter`,
		}},
		{"open topics elsewhere", "open_topics: [open/#, +/x]\n", []string{"TIDINGS_OPEN_TOPICS=open/#, $SYS/#"}, nil, []string{
			`TIDINGS_OPEN_TOPICS: open_topics: filter 2: "$SYS/#" begins with $, which is for the server's own topics`,
		}},
		{
			"access", "access:\n  - allow alice publish open/#\n  - allow alice write open/#\n  - deny * all #\n", nil, nil, []string{
				`tidings.yaml:3: access: rule 2: "write" is none of publish, subscribe and all`,
				`tidings.yaml:4: access: rule 3: the rule has no topic filter; in YAML one that begins with # makes quotes necessary around the rule`,
			},
		},
		{"access as text", "access: allow alice all open/#, permit bob all open/#\n", nil, nil, []string{
			`tidings.yaml:1: access: rule 2: a rule begins with allow or deny, not with "permit"`,
		}},
		{"access as flags", "access: [x]\n", nil, []string{"--access=deny * all open/x", "--access", "deny @team:chief all #"}, []string{
			`--access: access: rule 2: "chief" in @team:chief is none of the roles member, admin and owner`,
		}},
		{"queue policy", "open: {queue_policy: drop, queue: 0}\n", nil, nil, []string{
			`tidings.yaml:1: open.queue_policy: "drop" is not one of drop_oldest, refuse`, "tidings.yaml:1: open.queue: 0 is less than 1",
		}},
		{"conformance off loopback", "conformance: ':1884'\n", nil, nil, []string{
			`tidings.yaml:1: conformance: ":1884" can be reached from other machines, and this listener lets everybody in: its host must be 127.0.0.1, [::1] or localhost`,
		}},
		{"conformance on another host", "", nil, []string{"--conformance=example.org:1884"}, []string{
			`--conformance: conformance: "example.org:1884" can be reached from other machines, and this listener lets everybody in: its host must be 127.0.0.1, [::1] or localhost`,
		}},
		{"conformance nowhere", "conformance: localhost\n", nil, nil, []string{
			`tidings.yaml:1: conformance: "localhost" is not an address such as 127.0.0.1:1883 or :1883`,
		}},
		{"conformance on the address of mqtt", "mqtt: 127.0.0.1:7000\nconformance: 127.0.0.1:7000\n", nil, nil, []string{
			"tidings.yaml:2: conformance: is the same address as mqtt",
		}},
		{"conformance on the address of http", "http: 127.0.0.1:7000\nconformance: 127.0.0.1:7000\n", nil, nil, []string{
			"tidings.yaml:2: conformance: is the same address as http",
		}},
		{"no directory", `data: ""`, nil, nil, []string{"tidings.yaml:1: data: the directory has no name"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, tc.yaml, tc.env, tc.args...)
			got := problems(t, err)
			if len(got) != len(tc.want) {
				t.Fatalf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
			for _, want := range tc.want {
				if !strings.Contains("\n"+err.Error()+"\n", "\n"+want+"\n") {
					t.Errorf("no problem %q in:\n%v", want, err)
				}
			}
		})
	}
}

func TestValidate(t *testing.T) {
	c := config.Default()
	c.SessionExpiryMax = -1
	c.Store.Reserve = -1
	c.Data = ""
	got := problems(t, c.Validate())
	want := []string{"session_expiry_max: is negative", "store.reserve: is negative", "data: the directory has no name"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGoodFiles(t *testing.T) {
	for name, yaml := range map[string]string{
		"empty":               "",
		"comments only":       "# nothing\n",
		"empty section":       "limits:\n# all in it is commented out\n",
		"start of a document": "---\nnode: a\n",
		"any port twice":      "mqtt: 127.0.0.1:0\nhttp: 127.0.0.1:0\n",
		"anchors":             "connect_timeout: &t 5s\nwrite_timeout: *t\n",
		"list as text":        "ws:\n  origins: a.example, b.example\n",
		"numbers":             "node: 7\nlimits:\n  inflight: 7\n  body: 4096\n",
		"retention":           "retention: delivered\n",
		"conformance":         "conformance: '[::1]:0'\n",
		"conformance by name": "conformance: localhost:1884\n",
		"conformance, any":    "mqtt: 127.0.0.1:0\nconformance: 127.0.0.1:0\n",
	} {
		if _, err := load(t, yaml, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "absent.yaml"), []string{"TIDINGS_LOG_LEVEL=loud"}, nil)
	if got := problems(t, err); len(got) != 2 || !strings.Contains(got[0], "absent.yaml") {
		t.Errorf("problems = %q", got)
	}
}

func TestHugeFile(t *testing.T) {
	_, err := load(t, strings.Repeat("#\n", 1<<20), nil)
	if got := problems(t, err); len(got) != 1 || !strings.Contains(got[0], "too large") {
		t.Errorf("problems = %q", got)
	}
}

func TestUnknownEnv(t *testing.T) {
	got := config.UnknownEnv([]string{"TIDINGS_LIMIT_BODY=1", "TIDINGS_LIMITS_BODY=1", "TIDINGS_CONFIG=x", "TIDINGS_PORT_1883_TCP_ADDR=x", "HOME=/"}, "TIDINGS_CONFIG")
	if got["TIDINGS_LIMIT_BODY"] != "TIDINGS_LIMITS_BODY" || len(got) != 2 {
		t.Errorf("UnknownEnv = %v", got)
	}
}

func TestFlagsOfSomeKeys(t *testing.T) {
	set := pflag.NewFlagSet("tidings", pflag.ContinueOnError)
	config.RegisterFlags(set, "data", "limits.body")
	usage := set.FlagUsages()
	if strings.Count(usage, "--") != 2 || !strings.Contains(usage, "--limits-body size") || !strings.Contains(usage, "(default 256KiB)") {
		t.Errorf("usage:\n%s", usage)
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown key does not panic")
		}
	}()
	config.RegisterFlags(set, "dta")
}

func TestFlagLists(t *testing.T) {
	c, err := load(t, "", nil, "--ws-origins=a, b", "--ws-origins=c")
	if want := []string{"a", "b", "c"}; err != nil || !cmp.Equal(want, c.WS.Origins) {
		t.Errorf("origins = %q, %v; want %q", c.WS.Origins, err, want)
	}
}

// The rules of open topics mean the same in a file, a variable and flags, with what
// YAML thinks of "@", "%", "*" and "#".
func TestOpenTopics(t *testing.T) {
	filters := []string{"open/#", "site/+/x"}
	access := []string{"allow alice publish open/home/+/set", "deny * subscribe open/secret/#", "allow @team:admin all open/%u/%c/#", "deny * all #"}
	yaml := "open_topics: [open/#, site/+/x]\naccess:\n"
	var args []string
	for _, rule := range access {
		yaml += "  - '" + rule + "'\n"
		args = append(args, "--access", rule)
	}
	plain := strings.ReplaceAll(strings.ReplaceAll(yaml, "'deny * all #'", "\"deny * all #\""), "'", "")
	block := "open_topics: open/#, site/+/x\naccess: >-\n  " + strings.Join(access, ",\n  ") + "\n"
	env := []string{"TIDINGS_OPEN_TOPICS=" + strings.Join(filters, ","), "TIDINGS_ACCESS=" + strings.Join(access, ", ")}
	for name, way := range map[string]struct {
		yaml      string
		env, args []string
	}{
		"file":          {yaml: yaml},
		"without marks": {yaml: plain},
		"folded text":   {yaml: block},
		"environment":   {env: env},
		"flags":         {args: append(args, "--open-topics=open/#,site/+/x")},
	} {
		c, err := load(t, way.yaml, way.env, way.args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff([][]string{filters, access}, [][]string{c.OpenTopics, c.Access}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOpenExample(t *testing.T) {
	c, err := load(t, config.OpenExample, nil)
	if err != nil || len(c.OpenTopics) != 1 || len(c.Access) != 5 {
		t.Errorf("%v: %q, %q", err, c.OpenTopics, c.Access)
	}
}

func TestDocument(t *testing.T) {
	const file = "../docs/config.md"
	want := config.Markdown()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/config.md is out of date: run go test ./config -update\n%s", diff)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("limits:\n  body: 1KiB\n")
	f.Add("a: &a [*a]\nlimits: &b {body: *a, <<: *b}\n")
	f.Add(config.DefaultsFile())
	f.Fuzz(func(t *testing.T, yaml string) {
		file := filepath.Join(t.TempDir(), "tidings.yaml")
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(file, nil, nil); err != nil {
			problems(t, err)
		}
	})
}
