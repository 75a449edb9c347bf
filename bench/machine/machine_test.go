package machine_test

import (
	"runtime"
	"testing"

	"tidings/bench/machine"
)

func TestRead(t *testing.T) {
	m, err := machine.Read(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if m.Cores < 1 || m.Go != runtime.Version() || m.Files == 0 {
		t.Errorf("%+v", m)
	}
	if f := m.Disk.Fsync; f.Count < 100 || f.P50 <= 0 || f.P99 < f.P50 || f.Max < f.P99 {
		t.Errorf("fsync %+v", f)
	}
	if runtime.GOOS == "linux" && (m.Kernel == "" || m.RAM < 1<<20 || m.Disk.FileSystem == "" || m.Load == "") {
		t.Errorf("%+v", m)
	}
}
