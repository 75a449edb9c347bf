// Command mochi serves a bare mochi-mqtt v2 broker, to compare with: everybody may do everything, nothing is stored, and
// its queues are as long as it allows.
package main

import (
	"flag"
	"log"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// allowAll lets everybody in and to every topic. (The library's own hook of this kind pulls in a YAML parser.)
type allowAll struct{ mqtt.HookBase }

// ID names the hook.
func (*allowAll) ID() string { return "allow-all" }

// Provides says which of the hook's methods count.
func (*allowAll) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}

// OnConnectAuthenticate accepts every login.
func (*allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck allows every topic.
func (*allowAll) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

func main() {
	addr := flag.String("addr", "127.0.0.1:1883", "MQTT listen `address`")
	flag.Parse()
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumInflight = math.MaxUint16
	caps.MaximumClientWritesPending = math.MaxUint16
	s := mqtt.New(&mqtt.Options{Capabilities: caps, Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(allowAll), nil); err != nil {
		log.Fatal(err)
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: *addr})); err != nil {
		log.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	s.Close()
}
