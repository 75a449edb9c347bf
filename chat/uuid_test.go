package chat_test

import (
	"bytes"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tidings/chat"
)

func TestNewMessageID(t *testing.T) {
	base := time.Now().UnixMilli() + 1000
	last := chat.NewMessageID(base)
	for i := range 100_000 {
		ms := base + int64(i/1000) - int64(i%7) // stands still, goes back, goes on
		id := chat.NewMessageID(ms)
		if bytes.Compare(id[:], last[:]) <= 0 {
			t.Fatalf("%v after %v", id, last)
		}
		u, err := uuid.Parse(id.String())
		if err != nil {
			t.Fatal(err)
		}
		if u != uuid.UUID(id) || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%v is read as %v, version %d, variant %v", id, u, u.Version(), u.Variant())
		}
		if got := id.Millis(); got < ms || got > base+100 {
			t.Fatalf("the time in %v is %d, want %d", id, got, ms)
		}
		last = id
	}
}

func TestNewMessageIDConcurrent(t *testing.T) {
	var mu sync.Mutex
	seen := map[chat.MessageID]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var mine []chat.MessageID
			for range 2000 {
				mine = append(mine, chat.NewMessageID(1))
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range mine {
				if seen[id] {
					t.Errorf("%v came twice", id)
				}
				seen[id] = true
			}
		})
	}
	wg.Wait()
}

// TestMessageIDCarries goes over the edges of the two counting fields.
func TestMessageIDCarries(t *testing.T) {
	s := chat.NewIDSource(7, 1<<12-1, math.MaxUint64>>2)
	id := s.Next(7)
	if id.Millis() != 8 || id[6] != 0x70 || id[7] != 0 || id[8]>>6 != 2 {
		t.Errorf("behind the last id of a millisecond came %v", id)
	}
	s = chat.NewIDSource(7, 5, math.MaxUint64>>2)
	if id = s.Next(7); id.Millis() != 7 || id[7] != 6 || id[8]>>6 != 2 {
		t.Errorf("behind the last rand_b came %v", id)
	}
}

func TestParseMessageID(t *testing.T) {
	const text = "0190163d-8694-739b-aea5-966c26f8ad91"
	id, err := chat.ParseMessageID([]byte(text))
	if err != nil || id.String() != text {
		t.Fatalf("got %v, %v", id, err)
	}
	if upper, err := chat.ParseMessageID("0190163D-8694-739B-AEA5-966C26F8AD91"); err != nil || upper != id {
		t.Errorf("upper case: %v, %v", upper, err)
	}
	for _, bad := range []string{
		"", "0190163d8694739baea5966c26f8ad91", text + "0", text[:35], "0190163d-8694-739b-aea5-966c26f8ad9g",
		"0190163d-8694-739b-aea5_966c26f8ad91", "{190163d-8694-739b-aea5-966c26f8ad91", "01901-3d-8694-739b-aea5-966c26f8ad91",
	} {
		if got, err := chat.ParseMessageID(bad); err == nil || got != (chat.MessageID{}) {
			t.Errorf("ParseMessageID(%q) = %v, %v", bad, got, err)
		}
	}
}

func BenchmarkNewMessageID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		chat.NewMessageID(1732430000000)
	}
}
