package delivery_test

import (
	"testing"

	"tidings/delivery"
)

// keptOf returns what the carrier has kept, by device.
func (w *world) keptOf() map[string]string {
	w.t.Helper()
	found := make(map[string]string)
	if err := w.e.Kept(w.t.Context(), func(k delivery.KeptSession) {
		found[k.Identity.Actor.DeviceName] = string(k.Carrier)
	}); err != nil {
		w.t.Fatal(err)
	}
	return found
}

func TestForgetCarrierEndsWhatAnAbsentDeviceHasKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice")
		const first, second = `{"will":1}`, `{"will":2}`
		save := func(d *device, b string) {
			if err := d.s.SaveCarrier(t.Context(), []byte(b)); err != nil {
				t.Fatal(err)
			}
		}
		forget := func(d *device, b string) {
			if err := w.e.ForgetCarrier(t.Context(), d.s.Identity(), []byte(b)); err != nil {
				t.Fatal(err)
			}
		}
		phone, laptop := w.connect("alice", "phone"), w.connect("alice", "laptop")
		save(phone, first)
		save(laptop, first)
		forget(phone, first)
		if got := w.keptOf()["phone"]; got != first {
			t.Errorf("a device that is connected has kept %q", got)
		}
		phone.close(false)
		forget(phone, second)
		if got := w.keptOf()["phone"]; got != first {
			t.Errorf("after another value was to be forgotten, %q is kept", got)
		}
		forget(phone, first)
		got := w.keptOf()
		if _, ok := got["phone"]; ok || got["laptop"] != first {
			t.Errorf("kept: %v", got)
		}
		if again := w.connect("alice", "phone"); !again.info.Present || again.info.Carrier != nil {
			t.Errorf("the session is taken up again with %q (%v)", again.info.Carrier, again.info.Present)
		}
	})
}
