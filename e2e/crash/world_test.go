package crash_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/internal/history"
	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

var users = []string{"alice", "bob", "carol", "dave", "erin", "frank"}

// groups by name; the first member is the owner.
var groups = map[string][]string{
	"team":  users,
	"north": {"bob", "alice", "carol"},
	"south": {"frank", "dave", "erin", "alice"},
}

// world is everything that lives through one test.
type world struct {
	t       testing.TB
	srv     *server.Server
	rec     *history.Recorder
	devices []*device
	clerks  map[string]*clerk // by user
	setting history.Setting

	load  atomic.Bool // devices send new messages
	rough atomic.Bool // devices cut links and hold back acks
}

// newWorld starts the server and makes users, devices and groups; every device has its inbox when it returns.
func newWorld(t testing.TB, seed uint64) *world {
	t.Helper()
	w := &world{t: t, srv: server.Run(t, server.Config{}), rec: history.New()}
	w.setting = history.Setting{
		Members: make(map[string][]string), Devices: make(map[string][]string),
		Redelivery: 200 * time.Millisecond, Transit: time.Second,
	}
	if err := w.srv.AddUsers(t.Context(), users...); err != nil {
		t.Fatal(err)
	}
	var names []server.Device
	for _, u := range users {
		names = append(names, server.Device{User: u, Device: "phone"}, server.Device{User: u, Device: "laptop"})
	}
	for _, u := range users {
		names = append(names, server.Device{User: u, Device: "clerk"})
	}
	logins, err := w.srv.AddDevices(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	w.clerks = make(map[string]*clerk)
	for _, l := range logins[2*len(users):] {
		w.clerks[l.User] = &clerk{w: w, login: l}
	}
	for i, l := range logins[:2*len(users)] {
		w.setting.Devices[l.User] = append(w.setting.Devices[l.User], l.Device)
		w.devices = append(w.devices, newDevice(w, l, profileOf(i), rand.New(rand.NewPCG(seed, uint64(i)))))
	}
	for i, a := range users {
		for _, b := range users[i+1:] {
			w.setting.Members[history.DirectChat(a, b)] = []string{a, b}
		}
	}
	return w
}

// makeInboxes connects each device once, so that its inbox exists before the first message.
func (w *world) makeInboxes() {
	w.t.Helper()
	for _, d := range w.devices {
		if err := d.connect(w.t.Context()); err != nil {
			w.t.Fatalf("%s: %v", d, err)
		}
	}
}

// makeGroups has each owner make its group.
func (w *world) makeGroups() {
	w.t.Helper()
	for name, members := range groups {
		req := map[string]any{"group": name, "title": name, "members": members[1:]}
		if _, err := w.clerks[members[0]].call(w.t.Context(), "group.create", req); err != nil {
			w.t.Fatalf("group.create %s: %v", name, err)
		}
		w.setting.Members["g/"+name] = members
	}
}

// run lets all devices live until stop is called, which waits for them.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	for _, d := range w.devices {
		wg.Go(func() { d.live(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// profile is what kind of client a device is.
type profile struct {
	version   byte
	clean     bool // clean session: forgets what is unacked unless it has a cid
	cid       bool
	freshIDs  bool // resends with the cid as a new PUBLISH and not with DUP
	lazyAcks  bool // gathers PUBACKs and sends them late
	mixedAcks bool // … and in disorder, as some libraries do
	takesOver bool // connects again while the old connection is still open: a takeover
}

// profileOf spreads all kinds over the devices: the two devices of a user never are of one kind.
func profileOf(i int) profile {
	p := profile{
		version: mqttest.V5, clean: i%3 == 2, cid: i/2%2 == 0, lazyAcks: i%4 == 1, mixedAcks: i%8 == 5, takesOver: i%5 == 3,
	}
	if (i/2+i)%2 == 1 {
		p.version = mqttest.V311
	}
	p.freshIDs = p.cid && (p.clean || i%4 == 0)
	return p
}

// String says which kinds a device is of, for the log of a failed run.
func (p profile) String() string {
	s := "5"
	if p.version == mqttest.V311 {
		s = "3.1.1"
	}
	for name, on := range map[string]bool{
		" clean": p.clean, " cid": p.cid, " fresh-ids": p.freshIDs, " lazy-acks": p.lazyAcks, " mixed-acks": p.mixedAcks,
		" takeover": p.takesOver,
	} {
		if on {
			s += name
		}
	}
	return fmt.Sprintf("(%s)", s)
}
