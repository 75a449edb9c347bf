package chat_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/chat"
)

func testID(t testing.TB) chat.MessageID {
	t.Helper()
	id, err := chat.ParseMessageID("0190163d-8694-739b-aea5-966c26f8ad91")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAppendEnvelope(t *testing.T) {
	id := testID(t)
	full := chat.Message{
		ID: id, Seq: 41, Time: 1732430000000, Expires: 1732430060000, Type: "text", CID: []byte(`c"1`),
		Re: []byte(`40`), Mentions: []byte(`["bob"]`), Body: []byte(`"hi"`),
	}
	const head = `{"id":"0190163d-8694-739b-aea5-966c26f8ad91","chat":"u/alice","seq":41,`
	for _, tt := range []struct {
		name string
		m    chat.Message
		v    chat.View
		want string
	}{
		{
			"full", full,
			chat.View{Chat: "u/alice", From: "alice", Device: `my "laptop"`},
			head + `"from":"alice","device":"my \"laptop\"","ts":1732430000000,"type":"text","cid":"c\"1","re":40,"mentions":["bob"],` +
				`"expires":1732430060000,"body":"hi"}`,
		},
		{
			"small",
			chat.Message{ID: id, Seq: 41, Time: 5, Type: "text", Body: []byte(`"hi"`)},
			chat.View{Chat: "u/alice", From: "alice", Device: "laptop"},
			head + `"from":"alice","device":"laptop","ts":5,"type":"text","body":"hi"}`,
		},
		{
			"by the server",
			chat.Message{ID: id, Seq: 41, Time: 5, Type: "sys.add", Body: []byte(`{"members":["bob"]}`)},
			chat.View{Chat: "u/alice"},
			head + `"ts":5,"type":"sys.add","body":{"members":["bob"]}}`,
		},
		{
			"cut", full,
			chat.View{Chat: "u/alice", From: "alice", Device: "laptop", Cut: true},
			head + `"from":"alice","device":"laptop","ts":1732430000000,"type":"text","cid":"c\"1","re":40,"mentions":["bob"],` +
				`"expires":1732430060000,"cut":true}`,
		},
		{
			"stub",
			chat.Message{ID: id, Seq: 41, Time: 5, Type: "text", CID: []byte("1"), Stub: true},
			chat.View{Chat: "u/alice", From: "alice"},
			head + `"from":"alice","ts":5,"type":"text","cid":"1","stub":true}`,
		},
		{
			"no body",
			chat.Message{ID: id, Seq: 41, Time: 5, Type: "text"},
			chat.View{Chat: "u/alice"},
			head + `"ts":5,"type":"text","body":null}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := chat.AppendEnvelope([]byte("x"), &tt.m, tt.v)
			if diff := cmp.Diff("x"+tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, err := chat.DecodeEnvelope(got[1:]); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEnvelopeAllocations(t *testing.T) {
	m := chat.Message{ID: testID(t), Seq: 41, Time: 1732430000000, Type: "text", CID: []byte("c-1"), Body: []byte(`"hi"`)}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		buf = chat.AppendEnvelope(buf[:0], &m, chat.View{Chat: "u/alice", From: "alice", Device: "laptop"})
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestDecodeEnvelope(t *testing.T) {
	const good = `{"id":"0190163d-8694-739b-aea5-966c26f8ad91","chat":"u/alice","seq":41,"ts":5,"type":"text","body":"h\u0069","new":1}`
	e, err := chat.DecodeEnvelope([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := e.Text(); text != "hi" || !ok || e.Seq != 41 || e.ID != testID(t) {
		t.Errorf("got %+v", e)
	}
	for _, change := range [][2]string{
		{`"id":"0190163d-8694-739b-aea5-966c26f8ad91",`, ``},
		{`0190163d`, `x190163d`},
		{`"chat":"u/alice",`, ``},
		{`"seq":41`, `"seq":0`},
		{`"seq":41`, `"seq":-1`},
		{`"seq":41`, `"seq":41,"seq":41`},
		{`"type":"text"`, `"type":""`},
		{`"body":"h\u0069",`, ``},
		{`"new":1`, `"stub":true`},
		{`"new":1}`, `"new":1}}`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if e, err := chat.DecodeEnvelope([]byte(bad)); err == nil {
			t.Errorf("DecodeEnvelope(%s) = %+v, want an error", bad, e)
		}
	}
	if _, ok := (&chat.Envelope{Body: []byte("{}")}).Text(); ok {
		t.Error("an object is taken for a text")
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add("u/alice", "alice", "laptop", "text", "c-1", uint64(41), int64(1732430000000), int64(0), []byte(`"hi"`), []byte(`40`), false, false)
	f.Add("g/team", "", "", "sys.add", "", uint64(1), int64(-1), int64(7), []byte(`{"a":[1]}`), []byte(``), true, false)
	f.Add("g/t\"\n", "ö", "\\", "a", "\x00", uint64(1<<63), int64(0), int64(7), []byte(`{"a":[1]}`), []byte(`"x"`), false, true)
	f.Fuzz(func(t *testing.T, topic, from, device, typ, cid string, seq uint64, ts, expires int64, body, re []byte, stub, cut bool) {
		if chat.CheckJSON(body, 31) != nil || chat.CheckJSON(re, 0) != nil {
			return
		}
		for _, s := range []string{topic, from, device, typ, cid} {
			if strings.ToValidUTF8(s, "") != s {
				return
			}
		}
		m := chat.Message{ID: testID(t), Seq: seq, Time: ts, Expires: expires, Type: typ, CID: []byte(cid), Re: re, Body: body, Stub: stub}
		v := chat.View{Chat: topic, From: from, Device: device, Cut: cut}
		data := chat.AppendEnvelope(nil, &m, v)
		if !json.Valid(data) {
			t.Fatalf("not JSON: %q", data)
		}
		if other := append(chat.AppendEnvelopeHead(nil, &m, topic), chat.AppendEnvelopeTail(nil, &m, v)...); !bytes.Equal(data, other) {
			t.Fatalf("in two parts: %q, want %q", other, data)
		}
		e, err := chat.DecodeEnvelope(data)
		if topic == "" || seq == 0 || !chat.ValidType(typ) {
			if err == nil {
				t.Fatalf("accepts %q", data)
			}
			return
		}
		if err != nil {
			t.Fatalf("DecodeEnvelope(%q): %v", data, err)
		}
		want := chat.Envelope{
			ID: m.ID, Chat: topic, Seq: seq, From: from, Device: device, Time: ts, Type: typ, CID: cid, Expires: expires,
			Re: bytes.TrimSpace(re), Body: bytes.TrimSpace(body),
		}
		if stub {
			want.Stub, want.Body = true, nil
		} else if cut {
			want.Cut, want.Body = true, nil
		}
		if diff := cmp.Diff(want, e); diff != "" {
			t.Fatalf("round trip of %q (-want +got):\n%s", data, diff)
		}
	})
}

func BenchmarkAppendEnvelope(b *testing.B) {
	text, err := chat.AppendTextBody(nil, []byte(strings.Repeat("the quick brown fox ", 13)[:256]))
	if err != nil {
		b.Fatal(err)
	}
	m := chat.Message{ID: testID(b), Seq: 41, Time: 1732430000000, Type: "text", Body: text}
	v := chat.View{Chat: "u/alice", From: "alice", Device: "laptop"}
	buf := make([]byte, 0, 1024)
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = chat.AppendEnvelope(buf[:0], &m, v)
		}
	})
	b.Run("head", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = chat.AppendEnvelopeHead(buf[:0], &m, v.Chat)
		}
	})
}
