package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// A full disk: what is not stored is refused with a reason, what was stored can be read, and it goes on when space
// returns. The disk is made full by a file that takes the space which the server is told to keep free.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const margin = 512 << 20
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	free := int64(st.Bavail) * st.Bsize //nolint:unconvert // the types differ between systems
	if free < 3*margin {
		t.Fatalf("the test needs %d MiB of disk space", 3*margin>>20)
	}
	w := newWorld(t, server.Config{Dir: dir, Args: withConfig(t, fmt.Sprintf("store:\n  reserve: %d\n", free-margin))})
	ls := w.logins("alice/laptop", "bob/phone", "carol/phone")
	alice, bob := w.online(ls[0], v5), w.online(ls[1], v5)
	bob.Disconnect()
	alice.send(bob.me(), "before")

	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	if err := unix.Fallocate(int(filler.Fd()), 0, 0, 2*margin); err != nil {
		t.Fatal(err)
	}
	refused := func(i int) bool {
		p := mqttest.Publish{Topic: bob.me(), Payload: fmt.Appendf(nil, "full %d", i)}
		ack := alice.publish(p)
		if ack.Code == 0 {
			return false
		}
		props, err := ack.Properties()
		if word := props.Strings[mqttest.PropReasonString]; err != nil || ack.Code != 0x97 || word != "storage_full" {
			t.Fatalf("reason %#02x %q, %v", ack.Code, word, err)
		}
		return true
	}
	sent := 1
	eventually(t, "the disk is noticed to be full", func() bool {
		if refused(sent) {
			return true
		}
		sent++
		return false
	})
	// Reading, and what is needed for it, still works.
	bob = w.online(ls[1], v5)
	bob.texts(bob.me(), "before")
	carol := w.connect(ls[2], v5)
	carol.subscribe(carol.me() + "/rpc/+")
	if list := devices(carol); len(list) != 1 {
		t.Errorf("requests are not answered: %+v", list)
	}
	if code := carol.subscribeCodes("g/+/#")[0]; code != 0x97 {
		t.Errorf("a new inbox on a full disk: %#02x", code)
	}

	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	filler.Close()
	eventually(t, "the disk is noticed to have space", func() bool { return !refused(0) })
	for i := 1; i < sent; i++ {
		bob.texts(bob.me(), fmt.Sprintf("full %d", i))
	}
	if m := bob.on(bob.me()); m.text() != "full 0" || m.Seq != uint64(sent+1) {
		t.Errorf("afterwards came seq %d %s: what was refused left a trace", m.Seq, m.Payload)
	}
}
