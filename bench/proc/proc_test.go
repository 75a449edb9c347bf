package proc_test

import (
	"os"
	"testing"
	"time"

	"tidings/bench/proc"
)

func TestCPUGrowsWithWork(t *testing.T) {
	before, err := proc.CPU(0)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for after := before; after < before+20*time.Millisecond; {
		if time.Now().After(deadline) {
			t.Fatalf("CPU stays at %v while this test spins", after)
		}
		if after, err = proc.CPU(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRSSSeesTouchedMemory(t *testing.T) {
	before, err := proc.RSS(0)
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	b := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	after, err := proc.RSS(0)
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < size/2 {
		t.Errorf("grew by %d bytes for %d touched", grown, len(b))
	}
}

func TestIdleNeverShrinks(t *testing.T) {
	before, err := proc.Idle()
	if err != nil {
		t.Fatal(err)
	}
	after, err := proc.Idle()
	if err != nil || before <= 0 || after < before {
		t.Errorf("idle for %v, then %v: %v", before, after, err)
	}
}
