package delivery_test

import (
	"net/netip"
	"strings"
	"testing"
)

// The clients of the conformance listener are devices of an account that is nobody
// else's, whatever the users are called.
func TestEnterOpen(t *testing.T) {
	w := openWorld(t, nil, "conformance")
	user := w.connect("conformance", "phone").s.Identity().Actor
	devices := make(map[string]uint64)
	for _, client := range []string{"phone", "tablet", "phone", "ö", strings.Repeat("x", 65_535)} {
		id, err := w.e.EnterOpen(t.Context(), client, netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		if a := id.Actor; !id.Open || a.User == user.User || a.Device == 0 || a.Device == user.Device {
			t.Errorf("client %.10q is %+v, the user's device %+v", client, id, user)
		}
		if d, known := devices[client]; known && d != uint64(id.Actor.Device) {
			t.Errorf("client %q is another device the second time", client)
		}
		devices[client] = uint64(id.Actor.Device)
	}
	if len(devices) != 4 {
		t.Errorf("devices: %v", devices)
	}
}
