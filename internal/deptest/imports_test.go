package deptest_test

import (
	"os"
	"strings"
	"testing"

	"tidings/internal/deptest"
)

// table is the import policy of the module, from the bottom up; ARCHITECTURE.md draws the same picture. Read
// deptest.Parse for its three kinds of lines. What a package's line does not name it may not import: that
// alone keeps the api, the carrier and push apart from one another, and plugins and drivers out of everything
// but cmd.
const table = `
# The words of the domain: types, wire forms, grammar.
chat:
topics: chat
# Which filters match, which topics are matched: data structures over the grammar.
topics/index: topics

# Contracts, one beside the other. Neither knows who calls it.
storage:        chat
storage/pebble: storage chat
storage/mongo:  storage chat
hooks:          chat topics
hooks/*:        hooks chat topics
cluster:        chat topics
cluster/*:      cluster chat topics

# A suite that every store's tests run; nothing that ships names it.
storage/storagetest: storage chat

# A disk that fails or stands still, for tests; nothing that ships names it.
storage/pebble/baddisk:

# The engine: no MQTT, no driver, no particular plugin.
delivery: hooks cluster storage chat topics topics/index

# What stands on the engine. None knows another; cmd introduces them.
api:       delivery hooks cluster storage chat topics
broker:    delivery hooks cluster storage chat topics topics/index
pushsvc:   delivery hooks cluster storage chat topics
pushsvc/*: pushsvc chat topics
media:     delivery hooks cluster storage chat topics
media/*:   media chat topics
web:       delivery hooks cluster storage chat topics

# All settings, read by the command, which makes the packages' configs from them. It checks filters and rules.
config: topics

# Commands wire everything; load programs and helpers of tests drive whatever they need. Nothing that ships
# but a command may name internal/…, unless a line of its own says so above.
cmd/*:      *
bench/*:    *
e2e/*:      *
e2e:        internal/mqttest internal/mqttest/server
internal/*: *

# The engine and the api must be able to serve without MQTT, and mochi's traps stay behind the broker's checks.
only broker hooks/mochi bench/* e2e/* internal/*: github.com/mochi-mqtt/server/v2

# A driver's types never leave its store: the contract must fit the other stores, too.
only storage/pebble storage/pebble/baddisk bench/* internal/*: github.com/cockroachdb/pebble/v2
# A driver's types never leave its store: the contract must fit the other stores, too.
only storage/mongo bench/* internal/*: go.mongodb.org/mongo-driver/v2
# Redis never owns a sequence or a message; whoever needs it goes through the contract of cluster.
only cluster/* internal/*: github.com/redis/go-redis/v9

# How a login is proved is the authenticator's business; the broker carries the messages.
only hooks/auth e2e e2e/* internal/*: github.com/xdg-go/scram

# Flags, files and the environment are read by commands only and become the packages' configs there.
only config cmd/* bench/* internal/*: github.com/spf13/cobra github.com/spf13/pflag go.yaml.in/yaml/v3 flag

# A client library and test libraries have no place in what ships.
only storage/storagetest bench/* e2e/* internal/*: testing github.com/eclipse/paho.golang github.com/google/go-cmp github.com/rogpeppe/go-internal go.uber.org/goleak pgregory.net/rapid
`

func load(t *testing.T) []deptest.Package {
	t.Helper()
	pkgs, err := deptest.Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

func TestImports(t *testing.T) {
	policy, err := deptest.Parse("tidings", table)
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range policy.Check(load(t)) {
		t.Error(violation)
	}
}

func TestPackageDocs(t *testing.T) {
	for _, pkg := range load(t) {
		want := "Package " + pkg.Name + " "
		if pkg.Name == "main" {
			want = "Command " + pkg.Dir[strings.LastIndexByte(pkg.Dir, '/')+1:] + " "
		}
		if !strings.HasPrefix(strings.ReplaceAll(pkg.Doc, "\n", " "), want) {
			t.Errorf("package %s: want a doc comment that begins with %q, have %.40q", pkg.Dir, want, pkg.Doc)
		}
	}
}
