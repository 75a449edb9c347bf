// Package storagetest checks that an implementation keeps the contract of
// package storage. Run holds a case for each rule written there, and random
// operations against Model, a store of maps that is simple enough to be read as
// the contract in code. Model passes the suite itself.
//
// An implementation's test is three lines:
//
//	func TestContract(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storagetest.Opener { return newOpener(t) })
//	}
package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tidings/chat"
	"tidings/storage"
)

// Opener is one data set, empty at first.
type Opener interface {
	// Open opens a store on the data. The suite closes each store before it asks
	// for the next one, and the last at the end.
	Open() (storage.Store, error)
}

// Crasher is an Opener that can lose power. Cases that need it are left out
// without it.
type Crasher interface {
	Opener

	// Crash takes the data as a power loss would leave it at this moment, with s
	// open and maybe in use, and then gets rid of s. The next Open sees only what
	// was durable, and maybe more.
	Crash(s storage.Store) error
}

// Run checks the store that open makes. Each case gets a data set of its own.
func Run(t *testing.T, open func(t *testing.T) Opener) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.run(newFixture(t, open(t)))
		})
	}
	t.Run("Random", func(t *testing.T) { testRandom(t, open) })
}

type testCase struct {
	name string
	run  func(f *fixture)
}

var cases = []testCase{
	{"UsersAndNames", testUsers},
	{"UpdateUser", testUpdateUser},
	{"ListUsers", testListUsers},
	{"Blocks", testBlocks},
	{"DevicesAndNames", testDevices},
	{"UpdateDevice", testUpdateDevice},
	{"SessionEpochs", testSessions},
	{"Groups", testGroups},
	{"BulkAdd", testBulkAdd},
	{"UpdatesOfOneRecord", testConcurrentUpdates},

	{"DenseSeqs", testDenseSeqs},
	{"MessageRoundTrip", testMessageRoundTrip},
	{"Duplicate", testDuplicate},
	{"Probe", testProbe},
	{"Mismatch", testMismatch},
	{"FoldInBatch", testFolding},
	{"Moved", testMoved},
	{"CIDsAreScoped", testCIDScope},
	{"CallerKeepsBatch", testBatchReuse},
	{"ReadRanges", testReadRanges},
	{"ReadBytes", testReadBytes},
	{"ListChats", testListChats},
	{"Retention", testRetention},

	{"Members", testMembers},
	{"MembersWithHistory", testMemberHistory},
	{"MembersInOneBatch", testMembersInBatch},

	{"InboxDirect", testInboxDirect},
	{"InboxGroup", testInboxGroup},
	{"InboxPages", testInboxPages},
	{"AdvanceByMaximum", testAdvance},
	{"AdvanceWithEntries", testAdvanceInBatch},
	{"AdvanceConcurrently", testConcurrentAdvance},

	{"TrimStub", testStub},
	{"TrimForget", testForget},
	{"TrimFloor", testFloor},
	{"SeqNeverReused", testSeqNeverReused},
	{"DuplicateAfterStrip", testDuplicateAfterStrip},
	{"Expired", testExpired},

	{"Queue", testQueue},
	{"ForgetAgain", testForgetAgain},
	{"Retained", testRetained},
	{"RetainedOfAnyLength", testRetainedLong},
	{"RetainedWithEntries", testRetainedWithEntries},
	{"ListSessions", testListSessions},

	{"ReadersBesideAppend", testReadersBesideAppend},
	{"AppendersOfManyChats", testParallelAppends},
	{"CancelledContext", testCancelled},
	{"Health", testHealth},
	{"Crash", testCrash},
	{"CrashOfLateWrites", testCrashLate},
	{"CrashOfOpenTopics", testCrashOpen},
}

// ctx is for calls that are not to be cut short.
var ctx = context.Background()

// fixture is an open store under test.
type fixture struct {
	*testing.T
	opener Opener
	s      storage.Store
}

func newFixture(t *testing.T, o Opener) *fixture {
	t.Helper()
	f := &fixture{T: t, opener: o}
	f.open()
	t.Cleanup(func() {
		if err := f.s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

func (f *fixture) open() {
	f.Helper()
	s, err := f.opener.Open()
	if err != nil {
		f.Fatalf("Open: %v", err)
	}
	f.s = s
}

// reopen closes the store and opens it again.
func (f *fixture) reopen() {
	f.Helper()
	if err := f.s.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	f.open()
}

// crash cuts the power, if the opener can.
func (f *fixture) crash() {
	f.Helper()
	c, ok := f.opener.(Crasher)
	if !ok {
		f.reopen()
		return
	}
	if err := c.Crash(f.s); err != nil {
		f.Fatalf("Crash: %v", err)
	}
	f.open()
}

// twice runs check on the store as it is and again after it was reopened.
func (f *fixture) twice(check func()) {
	f.Helper()
	check()
	f.reopen()
	check()
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// wholeBytes compares long bodies at once instead of byte by byte.
var wholeBytes = cmp.FilterValues(
	func(a, b []byte) bool { return len(a) > 0 && len(b) > 0 }, cmp.Comparer(bytes.Equal),
)

// equal compares; nil and empty slices are alike.
func equal[T any](f *fixture, what string, got, want T) {
	f.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), wholeBytes); diff != "" {
		f.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// must unwraps a result.
func must[T any](f *fixture) func(T, error) T {
	return func(v T, err error) T {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
		return v
	}
}

// entry makes an entry of one sender with body text n.
func entry(id chat.ID, from chat.UserID, after uint64, cid, text string) storage.Entry {
	m := chat.Message{
		Chat: id, From: from, Device: chat.DeviceID(from) + 100, Epoch: 7, PacketID: 9,
		Time: 1_700_000_000_000 + int64(after), Type: chat.TypeText, Body: fmt.Appendf(nil, "%q", text),
	}
	copy(m.ID[:], fmt.Sprintf("%s/%s/%d", text, cid, from))
	if cid != "" {
		m.CID = []byte(cid)
	}
	return storage.Entry{Message: m, After: after}
}

// append stores entries in one batch and returns the results.
func (f *fixture) append(es ...storage.Entry) []storage.Result {
	f.Helper()
	b := &storage.Batch{Entries: es}
	if err := f.s.Append(ctx, b); err != nil {
		f.Fatalf("Append: %v", err)
	}
	rs := make([]storage.Result, len(es))
	for i := range es {
		rs[i] = es[i].Result
	}
	return rs
}

// fill appends n plain entries behind the head and returns the new head.
func (f *fixture) fill(id chat.ID, from chat.UserID, n int) uint64 {
	f.Helper()
	head := f.head(id)
	es := make([]storage.Entry, n)
	for i := range es {
		es[i] = entry(id, from, head, "", fmt.Sprintf("text %d", head+uint64(i)+1))
	}
	for _, r := range f.append(es...) {
		if r.Outcome != storage.Stored {
			f.Fatalf("entry was not stored: %+v", r)
		}
	}
	return head + uint64(n)
}

func (f *fixture) info(id chat.ID) storage.ChatInfo {
	f.Helper()
	return must[[]storage.ChatInfo](f)(f.s.Chats(ctx, []chat.ID{id}))[0]
}

func (f *fixture) head(id chat.ID) uint64 {
	f.Helper()
	return f.info(id).Head
}

func (f *fixture) read(r storage.Range) []chat.Message {
	f.Helper()
	return must[[]chat.Message](f)(f.s.Read(ctx, r))
}

// seqs returns the seqs of messages.
func seqs(ms []chat.Message) []uint64 {
	ns := make([]uint64, len(ms))
	for i := range ms {
		ns[i] = ms[i].Seq
	}
	return ns
}

// outcomes returns what became of entries, with their seqs.
func outcomes(rs []storage.Result) []string {
	names := map[storage.Outcome]string{
		storage.Stored: "stored", storage.Duplicate: "duplicate",
		storage.Mismatch: "mismatch", storage.Moved: "moved", storage.Absent: "absent",
	}
	ss := make([]string, len(rs))
	for i, r := range rs {
		ss[i] = fmt.Sprint(names[r.Outcome], " ", r.Seq)
	}
	return ss
}

// up returns from, from+1 … to.
func up(from, to uint64) []uint64 {
	var ns []uint64
	for n := from; n <= to; n++ {
		ns = append(ns, n)
	}
	return ns
}
