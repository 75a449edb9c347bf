package pebble_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tidings/chat"
	"tidings/storage"
	"tidings/storage/pebble"
	"tidings/storage/pebble/baddisk"
	"tidings/storage/storagetest"
)

// TestCrash runs random operations one after the other and cuts the power at random
// operations of the file system, with random loss of what was not synced. What is
// there afterwards has to be exactly what some number of the operations leave, in
// their order and each as a whole, and all of those that have reported something as
// durable are among them. The next life begins with what was found, and its power may
// go while it is still opening.
//
//	TIDINGS_CRASH_ROUNDS=5000 go test -run TestCrash ./storage/pebble
//	TIDINGS_CRASH_SEED=7 TIDINGS_CRASH_ROUNDS=1 …      the round of that seed again
func TestCrash(t *testing.T) {
	rounds, seed := fromEnv(t, "TIDINGS_CRASH_ROUNDS", 15), fromEnv(t, "TIDINGS_CRASH_SEED", rand.Uint64N(1<<32))
	t.Logf("seeds from %d", seed)
	for round := range rounds {
		if !t.Run(fmt.Sprint(seed+round), func(t *testing.T) { crashRound(t, seed+round) }) {
			t.FailNow()
		}
	}
}

func fromEnv(t *testing.T, name string, fallback uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lives is how often the power goes in a round.
const lives = 6

// crasher is one round: a data set through several losses of power.
type crasher struct {
	t   *testing.T
	rng *rand.Rand
	mem *vfs.MemFS

	history []*step            // what the data set may have seen, in order
	durable atomic.Int64       // so many of them are there for sure
	begun   atomic.Int64       // and no more than so many
	model   *storagetest.Model // after all of history
	cut     chan cut
}

// cut is a loss of power: what it leaves, and durable and begun at that moment.
type cut struct {
	left           *vfs.MemFS
	durable, begun int64
}

// step is one operation. Its result is compared with the model's.
type step struct {
	what string
	do   func(s storage.Store) (any, error)

	// durable tells by the result whether everything up to here is on disk. Nil: it
	// never is.
	durable func(result any) bool
}

func crashRound(t *testing.T, seed uint64) {
	c := &crasher{t: t, rng: rand.New(rand.NewPCG(seed, 0)), mem: vfs.NewCrashableMem(), model: storagetest.NewModel()}
	for range lives {
		c.live()
		if t.Failed() {
			return
		}
	}
}

// live opens the store, checks what it finds, and goes on until the power is cut.
// What is done after that is done to nobody.
func (c *crasher) live() {
	disk := baddisk.New(c.mem)
	c.armCut(disk)
	s := c.open(disk)
	if len(c.cut) == 0 {
		c.compare(s)
		for n := len(c.history); n < 3; n++ { // what all else is about
			c.run(s, c.drawDevice(pick(c.rng, crashNames)))
		}
		for len(c.cut) == 0 && !c.t.Failed() {
			c.run(s, c.draw())
		}
	}
	if err := s.Close(); err != nil {
		c.t.Errorf("close: %v", err)
	}
	if c.t.Failed() {
		return
	}
	cut := <-c.cut
	c.mem, c.history = cut.left, c.history[:cut.begun]
	c.durable.Store(cut.durable)
	c.begun.Store(cut.begun)
}

func (c *crasher) open(fs vfs.FS) *pebble.Store {
	c.t.Helper()
	s, err := pebble.Open("data", pebble.Options{FS: fs, MemTable: 128 << 10, Cache: 1 << 20, Heads: 4})
	if err != nil {
		c.t.Fatalf("open: %v", err)
	}
	return s
}

// armCut cuts the power in front of one of the next operations that change the disk,
// most likely soon.
func (c *crasher) armCut(disk *baddisk.Disk) {
	var count atomic.Int64
	at := 1 + c.rng.Int64N(8<<c.rng.IntN(7))
	loss := vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 10, 50, 90, 100}[c.rng.IntN(5)], RNG: rand.New(rand.NewPCG(c.rng.Uint64(), 0))}
	mem, cuts := c.mem, make(chan cut, 1)
	c.cut = cuts
	disk.Watch(func(op errorfs.Op) {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && count.Add(1) == at {
			durable := c.durable.Load()
			left := mem.CrashClone(loss)
			cuts <- cut{left, durable, c.begun.Load()}
		}
	})
}

// run does one operation to the store and to the model.
func (c *crasher) run(s *pebble.Store, st *step) {
	c.t.Helper()
	c.history = append(c.history, st)
	c.begun.Store(int64(len(c.history)))
	got, err := st.do(s)
	want, errWant := st.do(c.model)
	if (err == nil) != (errWant == nil) {
		c.t.Fatalf("%s: error %v, want %v", st.what, err, errWant)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		c.t.Fatalf("%s (-want +got):\n%s", st.what, diff)
	}
	if err == nil && st.durable != nil && st.durable(got) {
		c.durable.Store(int64(len(c.history)))
	}
}

// compare finds out how much of the history the store has, and begins anew with that.
func (c *crasher) compare(s *pebble.Store) {
	c.t.Helper()
	if err := s.CheckRows(); err != nil {
		c.t.Errorf("rows: %v", err)
	}
	got := c.look(s)
	model := storagetest.NewModel()
	least := int(c.durable.Load())
	var diffs string
	for n := 0; ; n++ {
		if n >= least {
			want := c.look(model)
			if slices.Equal(want, got) {
				c.history, c.model = c.history[:n], model
				c.durable.Store(int64(n)) // what a start has shown stays
				c.begun.Store(int64(n))
				return
			}
			diffs += fmt.Sprintf("after %d operations (-want +got):\n%s", n, cmp.Diff(want, got))
		}
		if n == len(c.history) {
			break
		}
		if n >= least {
			diffs += "then comes " + c.history[n].what + "\n"
		}
		_, _ = c.history[n].do(model) // as it was the first time
	}
	c.t.Fatalf("of %d operations %d were durable; what is there is what no number of them leaves:\n%s", len(c.history), least, diffs)
}

// look is all that can be read, a text for each question.
func (c *crasher) look(s storage.Store) (seen []string) {
	c.t.Helper()
	ctx := c.t.Context()
	see := func(v any, err error) {
		if err != nil {
			c.t.Fatalf("look: %v", err)
		}
		seen = append(seen, fmt.Sprintf("%+v", v))
	}
	us, err := s.ListUsers(ctx, "", 100)
	see(us, err)
	gs, err := s.ListGroups(ctx, "", 100)
	see(gs, err)
	rs, err := s.ListRetained(ctx, "", 100)
	for i := range rs {
		rs[i].Body = brief(rs[i].Body)
	}
	see(rs, err)
	ss, err := s.ListSessions(ctx, 0, 100)
	for i := range ss {
		ss[i].State = brief(ss[i].State)
	}
	see(ss, err)
	es, err := s.Expired(ctx, 1<<40, 1000)
	see(es, err)
	ls, err := s.ListChats(ctx, chat.ID{}, 100)
	see(ls, err)
	is, err := s.Chats(ctx, crashChats)
	see(is, err)
	for _, u := range crashUsers {
		bs, err := s.Blocks(ctx, u)
		see(bs, err)
		ds, err := s.DevicesOf(ctx, u)
		see(ds, err)
		for d := range chat.DeviceID(4) {
			ts, err := s.Inbox(ctx, u, d, chat.ID{}, 100)
			see(ts, err)
		}
	}
	for _, id := range crashChats {
		ms, err := s.Read(ctx, storage.Range{Chat: id, Limit: 1 << 20, Bytes: 1 << 30})
		for i := range ms {
			ms[i].Body = brief(ms[i].Body)
		}
		see(ms, err)
		members, _, err := s.Members(ctx, id)
		see(members, err)
		marks, err := s.Watermarks(ctx, id, crashUsers)
		see(marks, err)
		ps, err := c.probe(s, id)
		see(ps, err)
	}
	return seen
}

// brief shortens what repeats one letter.
func brief(b []byte) []byte {
	if len(b) > 0 && bytes.Count(b, b[:1]) == len(b) {
		return fmt.Appendf(nil, "%d %c", len(b), b[0])
	}
	return b
}

// probe asks for all client ids that there are, with content that none has.
func (c *crasher) probe(s storage.Store, id chat.ID) (results []storage.Result, err error) {
	var b storage.Batch
	for _, u := range crashUsers {
		for _, cid := range crashCIDs {
			m := chat.Message{Chat: id, From: u, CID: []byte(cid), Type: chat.TypeText, Body: []byte("none")}
			b.Entries = append(b.Entries, storage.Entry{Message: m, Probe: true})
		}
	}
	err = s.Append(c.t.Context(), &b)
	for i := range b.Entries {
		results = append(results, b.Entries[i].Result)
	}
	return results, err
}
