package storagetest

import (
	"bytes"
	"fmt"
	"slices"

	"tidings/chat"
	"tidings/storage"
)

var (
	direct = chat.DirectChat(1, 2)
	team   = chat.GroupChat(5)
)

func testDenseSeqs(f *fixture) {
	notes, events := chat.DirectChat(3, 3), chat.EventsChat(1)
	// Entries of several chats mixed in one batch.
	rs := f.append(
		entry(direct, 1, 0, "", "a"), entry(team, 2, 0, "", "b"), entry(direct, 2, 0, "", "c"),
		entry(notes, 3, 0, "", "d"), entry(events, 0, 0, "", "e"), entry(team, 1, 0, "", "f"),
	)
	equal(f, "results", outcomes(rs), []string{"stored 1", "stored 1", "stored 2", "stored 1", "stored 1", "stored 2"})
	f.reopen()
	rs = f.append(entry(direct, 1, 2, "", "g"), entry(direct, 1, 2, "", "h"))
	equal(f, "results after reopening", outcomes(rs), []string{"stored 3", "stored 4"})
	f.twice(func() {
		var texts []string
		for _, m := range f.read(storage.Range{Chat: direct}) {
			texts = append(texts, fmt.Sprint(m.Seq, string(m.Body)))
		}
		equal(f, "log", texts, []string{`1"a"`, `2"c"`, `3"g"`, `4"h"`})
		infos := must[[]storage.ChatInfo](f)(f.s.Chats(ctx, []chat.ID{team, direct, chat.GroupChat(99), notes}))
		equal(f, "Chats", infos, []storage.ChatInfo{
			{ID: team, Head: 2, HeadTime: 1_700_000_000_000},
			{ID: direct, Head: 4, HeadTime: 1_700_000_000_002},
			{ID: chat.GroupChat(99)},
			{ID: notes, Head: 1, HeadTime: 1_700_000_000_000},
		})
	})
}

func testMessageRoundTrip(f *fixture) {
	full := chat.Message{
		Chat: direct, From: 1, Device: 2, Epoch: 3, PacketID: 65535, Time: 1_700_000_000_123, Expires: 1_800_000_000_000,
		Type: "x.reaction", CID: []byte("\x00\xff c"), Re: []byte(`{"seq":4}`), Mentions: []byte(`["bob"]`),
		Body: bytes.Repeat([]byte("0123456789"), 30_000),
	}
	copy(full.ID[:], "0123456789abcdef")
	bare := chat.Message{Chat: direct, Time: 1, Type: chat.TypeText, Body: []byte(`""`)}
	b := &storage.Batch{Entries: []storage.Entry{{Message: full}, {Message: bare}}}
	f.ok(f.s.Append(ctx, b))
	equal(f, "result", b.Entries[0].Result,
		storage.Result{Outcome: storage.Stored, Seq: 1, ID: full.ID, Time: full.Time})
	full.Seq, bare.Seq = 1, 2
	equal(f, "entry in the batch", b.Entries[0].Message, full)
	f.twice(func() { equal(f, "messages", f.read(storage.Range{Chat: direct}), []chat.Message{full, bare}) })
}

func testDuplicate(f *fixture) {
	first := entry(direct, 1, 0, "k1", "hello")
	want := f.append(first)[0]
	f.fill(direct, 2, 3)
	want.Outcome = storage.Duplicate
	f.twice(func() {
		again := entry(direct, 1, 4, "k1", "hello")
		again.Message.ID, again.Message.Time = chat.MessageID{9}, 99
		equal(f, "result", f.append(again)[0], want)
		if h := f.head(direct); h != 4 {
			f.Fatalf("a duplicate moved the head to %d", h)
		}
	})
	// A duplicate takes no seq from those behind it.
	rs := f.append(entry(direct, 2, 4, "k2", "x"), entry(direct, 1, 4, "k1", "hello"), entry(direct, 1, 4, "k3", "y"))
	equal(f, "results", outcomes(rs), []string{"stored 5", "duplicate 1", "stored 6"})
}

func testProbe(f *fixture) {
	f.append(entry(direct, 1, 0, "k1", "hello"))
	probe := func(after uint64, cid, body string) storage.Entry {
		e := entry(direct, 1, after, cid, body)
		e.Probe = true
		return e
	}
	f.twice(func() {
		rs := f.append(probe(7, "k1", "hello"), probe(0, "k1", "other"), probe(1, "k2", "x"))
		equal(f, "results", outcomes(rs), []string{"duplicate 1", "mismatch 1", "absent 0"})
		if h := f.head(direct); h != 1 {
			f.Fatalf("probes moved the head to %d", h)
		}
	})
	// An absent probe uses no cid, and does not decide about After.
	rs := f.append(probe(9, "k3", "x"), entry(direct, 1, 1, "k3", "x"), probe(9, "k3", "x"))
	equal(f, "results", outcomes(rs), []string{"absent 0", "stored 2", "duplicate 2"})
}

func testMismatch(f *fixture) {
	first := entry(direct, 1, 0, "k1", "hello")
	want := f.append(first)[0]
	want.Outcome = storage.Mismatch
	for what, change := range map[string]func(*chat.Message){
		"body":     func(m *chat.Message) { m.Body = []byte(`"other"`) },
		"type":     func(m *chat.Message) { m.Type = "x.other" },
		"re":       func(m *chat.Message) { m.Re = []byte(`{"seq":1}`) },
		"mentions": func(m *chat.Message) { m.Mentions = []byte(`["bob"]`) },
	} {
		again := entry(direct, 1, 1, "k1", "hello")
		change(&again.Message)
		equal(f, "other "+what, f.append(again)[0], want)
	}
	if h := f.head(direct); h != 1 {
		f.Errorf("head is %d", h)
	}
}

func testFolding(f *fixture) {
	rs := f.append(
		entry(direct, 1, 0, "k", "a"), entry(direct, 1, 0, "k", "a"), entry(direct, 1, 0, "k", "b"),
		entry(direct, 2, 0, "k", "a"), entry(direct, 1, 0, "", "a"), entry(direct, 1, 0, "", "a"),
	)
	equal(f, "results", outcomes(rs),
		[]string{"stored 1", "duplicate 1", "mismatch 1", "stored 2", "stored 3", "stored 4"})
	if rs[1].ID != rs[0].ID || rs[1].Time != rs[0].Time {
		f.Errorf("the duplicate names another message: %+v, first %+v", rs[1], rs[0])
	}
	rs = f.append(entry(direct, 1, 4, "k", "b"), entry(direct, 1, 4, "k", "a"))
	equal(f, "results against the stored one", outcomes(rs), []string{"mismatch 1", "duplicate 1"})
	equal(f, "seqs", seqs(f.read(storage.Range{Chat: direct})), up(1, 4))
}

func testMoved(f *fixture) {
	f.append(entry(direct, 1, 0, "k", "a"))
	f.fill(direct, 2, 2)
	// No duplicate is looked for; other chats of the batch are not touched by it.
	rs := f.append(
		entry(direct, 1, 1, "k", "a"), entry(team, 1, 0, "", "x"), entry(direct, 1, 1, "", "b"),
	)
	equal(f, "results", outcomes(rs), []string{"moved 3", "stored 1", "moved 3"})
	rs = f.append(entry(direct, 1, 9, "", "b"))
	equal(f, "After beyond the head", outcomes(rs), []string{"moved 3"})
	rs = f.append(entry(chat.GroupChat(77), 1, 1, "", "b"))
	equal(f, "After in an empty chat", outcomes(rs), []string{"moved 0"})
	equal(f, "seqs", seqs(f.read(storage.Range{Chat: direct})), up(1, 3))
	f.reopen()
	equal(f, "after reopening", outcomes(f.append(entry(direct, 1, 2, "", "b"))), []string{"moved 3"})
}

func testCIDScope(f *fixture) {
	rs := f.append(
		entry(direct, 1, 0, "k", "a"), entry(direct, 2, 0, "k", "a"), entry(team, 1, 0, "k", "a"),
		entry(direct, 1, 0, "kk", "a"),
	)
	equal(f, "results", outcomes(rs), []string{"stored 1", "stored 2", "stored 1", "stored 3"})
	rs = f.append(entry(direct, 1, 3, "kk", "a"), entry(direct, 2, 3, "k", "a"), entry(direct, 2, 3, "kk", "a"))
	equal(f, "results", outcomes(rs), []string{"duplicate 3", "duplicate 2", "stored 4"})
}

// testBatchReuse: what was handed in may be overwritten after the call.
func testBatchReuse(f *fixture) {
	e := entry(direct, 1, 0, "cid", "text")
	b := &storage.Batch{Entries: []storage.Entry{e}}
	f.ok(f.s.Append(ctx, b))
	want := slices.Clone(f.read(storage.Range{Chat: direct}))
	for i := range e.Message.Body {
		e.Message.Body[i] = '#'
	}
	e.Message.CID[0] = '#'
	got := f.read(storage.Range{Chat: direct})
	equal(f, "message", got, want)
	got[0].Body[0] = '%' // what comes out belongs to the caller, too
	equal(f, "message", f.read(storage.Range{Chat: direct})[0].Body, []byte(`"text"`))
}

func testReadRanges(f *fixture) {
	f.fill(chat.DirectChat(1, 1), 1, 2)
	f.fill(direct, 1, 10)
	f.fill(chat.DirectChat(1, 3), 1, 2)
	down := func(from, to uint64) []uint64 {
		ns := up(to, from)
		slices.Reverse(ns)
		return ns
	}
	for _, c := range []struct {
		name string
		r    storage.Range
		want []uint64
	}{
		{"all", storage.Range{}, up(1, 10)},
		{"from", storage.Range{From: 4}, up(4, 10)},
		{"to", storage.Range{To: 4}, up(1, 4)},
		{"both", storage.Range{From: 3, To: 5}, up(3, 5)},
		{"one", storage.Range{From: 3, To: 3}, up(3, 3)},
		{"beyond", storage.Range{From: 9, To: 50}, up(9, 10)},
		{"above the head", storage.Range{From: 11}, nil},
		{"crossed", storage.Range{From: 5, To: 3}, nil},
		{"limit", storage.Range{From: 2, Limit: 3}, up(2, 4)},
		{"reverse", storage.Range{Reverse: true}, down(10, 1)},
		{"reverse limit", storage.Range{Reverse: true, To: 8, Limit: 3}, down(8, 6)},
		{"reverse from", storage.Range{Reverse: true, From: 7, To: 8}, down(8, 7)},
	} {
		c.r.Chat = direct
		equal(f, c.name, seqs(f.read(c.r)), c.want)
	}
	equal(f, "unknown chat", f.read(storage.Range{Chat: chat.GroupChat(1234)}), nil)
	f.fill(team, 1, 1005)
	if n := len(f.read(storage.Range{Chat: team})); n != 1000 {
		f.Errorf("%d entries without a limit, want 1,000", n)
	}
}

func testReadBytes(f *fixture) {
	for i := range 6 {
		e := entry(direct, 1, uint64(i), "", "x")
		e.Message.Body = bytes.Repeat([]byte("x"), 300<<10)
		f.append(e)
	}
	for _, c := range []struct {
		bytes   int
		reverse bool
		want    []uint64
	}{
		{1, false, up(1, 1)},
		{300<<10 - 1, false, up(1, 1)},
		{300 << 10, false, up(1, 2)}, // not exceeded by the first
		{700 << 10, false, up(1, 3)},
		{0, false, up(1, 4)}, // 1 MiB
		{1, true, []uint64{6}},
		{100 << 20, false, up(1, 6)},
	} {
		got := seqs(f.read(storage.Range{Chat: direct, Bytes: c.bytes, Reverse: c.reverse}))
		equal(f, fmt.Sprint("bytes ", c.bytes), got, c.want)
	}
}

func testListChats(f *fixture) {
	ids := []chat.ID{
		chat.GroupChat(1), chat.GroupChat(300), chat.EventsChat(1), chat.DirectChat(1, 1), chat.DirectChat(1, 2),
		chat.DirectChat(2, 1<<40),
	}
	for i, id := range slices.Backward(ids) {
		f.fill(id, 1, i+1)
	}
	f.ok(f.s.SetRetention(ctx, chat.GroupChat(2), "30d")) // has no entries
	f.twice(func() {
		var got []chat.ID
		after := chat.ID{}
		for {
			infos := must[[]storage.ChatInfo](f)(f.s.ListChats(ctx, after, 4))
			for _, info := range infos {
				got, after = append(got, info.ID), info.ID
				equal(f, "info", info, f.info(info.ID))
			}
			if len(infos) < 4 {
				break
			}
		}
		equal(f, "chats", got, ids)
	})
}

func testRetention(f *fixture) {
	f.ok(f.s.SetRetention(ctx, team, "30d"))
	f.fill(team, 1, 1)
	f.twice(func() {
		if got := f.info(team).Retention; got != "30d" {
			f.Fatalf("retention %q", got)
		}
	})
	f.ok(f.s.SetRetention(ctx, team, ""))
	f.twice(func() {
		if got := f.info(team).Retention; got != "" {
			f.Fatalf("retention %q after it was reset", got)
		}
	})
}
