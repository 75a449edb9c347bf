package storagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"tidings/chat"
	"tidings/storage"
)

// Benchmark measures what the message path leans on: Append in batches of
// several sizes (one operation is one entry), Inbox with 1,000 chats (one
// operation is one call), and a queue that is filled, read and forgotten again
// (one operation is 16 entries).
func Benchmark(b *testing.B, open func(b *testing.B) Opener) {
	for _, size := range []int{1, 16, 128, 512} {
		b.Run(fmt.Sprintf("Append/batch=%d", size), func(b *testing.B) { benchAppend(b, open(b), size, false) })
		b.Run(fmt.Sprintf("AppendWithCID/batch=%d", size), func(b *testing.B) { benchAppend(b, open(b), size, true) })
	}
	b.Run("Inbox/chats=1000", func(b *testing.B) { benchInbox(b, open(b)) })
	b.Run("Queue/entries=16", func(b *testing.B) { benchQueue(b, open(b)) })
	b.Run("Read/entries=100", func(b *testing.B) { benchRead(b, open(b)) })
}

func benchOpen(b *testing.B, o Opener) storage.Store {
	b.Helper()
	s, err := o.Open()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// benchChats is how many chats the messages of benchAppend are spread over.
const benchChats = 1000

func benchAppend(b *testing.B, o Opener, size int, cids bool) {
	s := benchOpen(b, o)
	body := append(append([]byte{'"'}, bytes.Repeat([]byte("x"), 254)...), '"')
	var heads [benchChats]uint64
	batch := &storage.Batch{}
	cid := make([]byte, 16*size)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += size {
		batch.Entries = batch.Entries[:0]
		for i := range size {
			c := (n + i) % benchChats
			m := chat.Message{
				Chat: chat.DirectChat(chat.UserID(c+1), chat.UserID(c+1+benchChats)), From: chat.UserID(c + 1),
				Device: 9, Epoch: 1, PacketID: 7, Time: int64(n), Type: chat.TypeText, Body: body,
			}
			binary.BigEndian.PutUint64(m.ID[:], uint64(n+i))
			if cids {
				m.CID = cid[16*i : 16*i+16]
				copy(m.CID, m.ID[:])
			}
			batch.Entries = append(batch.Entries, storage.Entry{Message: m, After: heads[c]})
		}
		if err := s.Append(ctx, batch); err != nil {
			b.Fatal(err)
		}
		for i := range batch.Entries {
			if r := batch.Entries[i].Result; r.Outcome != storage.Stored {
				b.Fatalf("%+v", r)
			}
			heads[(n+i)%benchChats]++
		}
	}
}

func benchInbox(b *testing.B, o Opener) {
	s := benchOpen(b, o)
	const chats = 1000
	batch := &storage.Batch{}
	for c := range chats {
		id := chat.DirectChat(1, chat.UserID(c+2))
		for range 5 {
			batch.Entries = append(batch.Entries, entry(id, 1, 0, "", "a text of usual length for a chat"))
		}
		batch.Advances = append(batch.Advances, storage.Advance{Chat: id, User: 1, Device: 7, Cursor: 3, Delivered: 3})
	}
	if err := s.Append(ctx, batch); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		tails, err := s.Inbox(ctx, 1, 7, chat.ID{}, chats)
		if err != nil || len(tails) != chats {
			b.Fatal(len(tails), err)
		}
	}
}

func benchQueue(b *testing.B, o Opener) {
	s := benchOpen(b, o)
	id := chat.QueueChat(1)
	batch := &storage.Batch{}
	b.ReportAllocs()
	for head := uint64(0); b.Loop(); head += 16 {
		batch.Entries = batch.Entries[:0]
		for range 16 {
			batch.Entries = append(batch.Entries, queueEntry(id, head, "a value of usual length for a sensor"))
		}
		if err := s.Append(ctx, batch); err != nil {
			b.Fatal(err)
		}
		ms, err := s.Read(ctx, storage.Range{Chat: id, From: head + 1})
		if err != nil || len(ms) != 16 {
			b.Fatal(len(ms), err)
		}
		if err := s.Trim(ctx, storage.Trim{Chat: id, Forget: head + 16}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRead(b *testing.B, o Opener) {
	s := benchOpen(b, o)
	batch := &storage.Batch{}
	for range 1000 {
		batch.Entries = append(batch.Entries, entry(direct, 1, 0, "", "a text of usual length for a chat"))
	}
	if err := s.Append(ctx, batch); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ms, err := s.Read(ctx, storage.Range{Chat: direct, From: 400, Limit: 100})
		if err != nil || len(ms) != 100 {
			b.Fatal(len(ms), err)
		}
	}
}
