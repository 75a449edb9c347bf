package chat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tidings/chat"
)

func TestParseDraft(t *testing.T) {
	for _, tt := range []struct {
		payload string
		want    chat.Draft
	}{
		{"hi", chat.Draft{Type: "text", Text: []byte("hi")}},
		{" {", chat.Draft{Type: "text", Text: []byte(" {")}},
		{"[1]", chat.Draft{Type: "text", Text: []byte("[1]")}},
		{"\x00ö", chat.Draft{Type: "text", Text: []byte("\x00ö")}},
		{`{"body":"hi"}`, chat.Draft{Type: "text", Body: []byte(`"hi"`)}},
		{"{ \"body\" :\t{\"a\": [1, 2]} }\n ", chat.Draft{Type: "text", Body: []byte(`{"a": [1, 2]}`)}},
		{`{"body":null}`, chat.Draft{Type: "text", Body: []byte(`null`)}},
		{`{"\u0062ody":0}`, chat.Draft{Type: "text", Body: []byte(`0`)}},
		{
			`{"cid":"c-1 ö","type":"x.custom","re":41,"ttl":60,"mentions":["bob","eve.2"],"body":"hi"}`,
			chat.Draft{
				Type: "x.custom", Body: []byte(`"hi"`), CID: []byte("c-1 ö"), Re: []byte("41"), TTL: 60,
				Mentions: []byte(`["bob","eve.2"]`),
			},
		},
		{
			`{"body":1,"cid":"a\u0062\"","re":"0190163d-8694-739b-aea5-966c26f8ad91","ttl":31622400,"mentions":[ ]}`,
			chat.Draft{
				Type: "text", Body: []byte(`1`), CID: []byte(`ab"`), Re: []byte(`"0190163d-8694-739b-aea5-966c26f8ad91"`),
				TTL: 31622400, Mentions: []byte(`[ ]`),
			},
		},
		{`{"body":1,"type":"sys"}`, chat.Draft{Type: "sys", Body: []byte(`1`)}},
		{`{"body":1,"re":9223372036854775807}`, chat.Draft{Type: "text", Body: []byte(`1`), Re: []byte("9223372036854775807")}},
	} {
		got, err := chat.ParseDraft([]byte(tt.payload), chat.DraftOptions{})
		if err != nil {
			t.Errorf("ParseDraft(%q): %v", tt.payload, err)
		} else if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseDraft(%q) (-want +got):\n%s", tt.payload, diff)
		}
	}

	got, err := chat.ParseDraft([]byte(`{"no draft`), chat.DraftOptions{Text: true})
	if err != nil || string(got.Text) != `{"no draft` || string(got.AppendBody(nil)) != `"{\"no draft"` {
		t.Errorf("as a text: %+v, %v", got, err)
	}
}

func TestParseDraftRefuses(t *testing.T) {
	names := func(n int) string { return `["a"` + strings.Repeat(`,"a"`, n-1) + `]` }
	for _, tt := range []struct {
		payload string
		at      int
		says    string
	}{
		{"", 0, "empty"},
		{"a\xff", 1, "UTF-8"},
		{"{", 1, "cut short"},
		{"{}", 0, `no "body"`},
		{`{hello`, 1, "key"},
		{`{"cid":"1"}`, 0, `no "body"`},
		{`{"body":1} x`, 11, "behind"},
		{`{"body":1,"body":2}`, 10, "twice"},
		{`{"body":1,"b\u006fdy":2}`, 10, "twice"},
		{`{"body":{"a":1,"a":2}}`, 15, "twice"},
		{`{"body":1,"color":2}`, 10, `"color"`},
		{`{"body":1,"Body":2}`, 10, `"Body"`},
		{`{"body":` + strings.Repeat("[", 32), 39, "deep"},
		{`{"body":"` + "\xff" + `"}`, 9, "UTF-8"},
		{`{"body":"\ud800"}`, 9, "surrogate"},
		{`{"body":1,"cid":""}`, 16, `"cid"`},
		{`{"body":1,"cid":7}`, 16, `"cid"`},
		{`{"body":1,"cid":null}`, 16, `"cid"`},
		{`{"body":1,"cid":"a\nb"}`, 16, `"cid"`},
		{`{"body":1,"cid":"\u0085"}`, 16, `"cid"`},
		{`{"body":1,"cid":"` + strings.Repeat("a", 65) + `"}`, 16, `"cid"`},
		{`{"body":1,"type":""}`, 17, `"type"`},
		{`{"body":1,"type":"Text"}`, 17, `"type"`},
		{`{"body":1,"type":"sys.add"}`, 17, `"sys."`},
		{`{"body":1,"type":"s\u0079s.add"}`, 17, `"sys."`},
		{`{"body":1,"re":0}`, 15, `"re"`},
		{`{"body":1,"re":-1}`, 15, `"re"`},
		{`{"body":1,"re":1.0}`, 15, `"re"`},
		{`{"body":1,"re":01}`, 15, `"re"`},
		{`{"body":1,"re":9223372036854775808}`, 15, `"re"`},
		{`{"body":1,"re":""}`, 15, `"re"`},
		{`{"body":1,"re":"` + strings.Repeat("a", 255) + `"}`, 15, `"re"`},
		{`{"body":1,"re":[1]}`, 15, `"re"`},
		{`{"body":1,"ttl":0}`, 16, `"ttl"`},
		{`{"body":1,"ttl":1e3}`, 16, `"ttl"`},
		{`{"body":1,"ttl":"60"}`, 16, `"ttl"`},
		{`{"body":1,"ttl":31622401}`, 16, `"ttl"`},
		{`{"body":1,"ttl":99999999999999999999999999}`, 16, `"ttl"`},
		{`{"body":1,"mentions":"bob"}`, 21, `"mentions"`},
		{`{"body":1,"mentions":["Bob"]}`, 22, `"mentions"`},
		{`{"body":1,"mentions":[1]}`, 22, `"mentions"`},
		{`{"body":1,"mentions":["bob"`, 27, "cut short"},
		{`{"body":1,"mentions":` + names(65) + `}`, 21 + 1 + 64*4, `"mentions"`},
	} {
		d, err := chat.ParseDraft([]byte(tt.payload), chat.DraftOptions{})
		switch de, ok := errors.AsType[*chat.DraftError](err); {
		case !ok:
			t.Errorf("ParseDraft(%q) = %+v, %v, want a DraftError", tt.payload, d, err)
		case de.Offset != tt.at || !strings.Contains(de.Message, tt.says) || de.Code != chat.CodeMalformed:
			t.Errorf("ParseDraft(%q) = %#v, want %s at %d", tt.payload, de, tt.says, tt.at)
		}
		if diff := cmp.Diff(chat.Draft{}, d); diff != "" {
			t.Errorf("ParseDraft(%q) refuses and yet returns %+v", tt.payload, d)
		}
	}
	for _, key := range []string{``, `ö`, `a\n`, strings.Repeat("a", 33)} {
		_, err := chat.ParseDraft([]byte(`{"body":1,"`+key+`":2}`), chat.DraftOptions{})
		if de, ok := errors.AsType[*chat.DraftError](err); !ok || de.Message != "there is an unknown key" {
			t.Errorf("the key %q: %v, want it unnamed", key, err)
		}
	}
	if _, err := chat.ParseDraft([]byte(`{"body":1,"mentions":`+names(64)+`}`), chat.DraftOptions{}); err != nil {
		t.Errorf("64 mentions: %v", err)
	}
	if _, err := chat.ParseDraft([]byte(`{"secret`+"\xff"), chat.DraftOptions{Text: true}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("broken text: %v", err)
	}
}

func TestParseDraftAllocations(t *testing.T) {
	buf := make([]byte, 0, 1024)
	for _, payload := range []string{
		"hi bob, \"are you there?\"\nömlaut",
		`{"cid":"7f3a","type":"reaction","re":41,"ttl":3600,"mentions":["bob","eve"],"body":{"emoji":"😀","list":[1,2,{"a":"b"}]}}`,
	} {
		in := []byte(payload)
		if n := testing.AllocsPerRun(100, func() {
			d, err := chat.ParseDraft(in, chat.DraftOptions{})
			if err != nil {
				t.Error(err)
			}
			buf = d.AppendBody(buf[:0])
		}); n != 0 {
			t.Errorf("ParseDraft(%q): %v allocations, want none", payload, n)
		}
	}
}

func FuzzParseDraft(f *testing.F) {
	for _, s := range []string{
		"hi", "{", `{"body":"hi"}`, `{"cid":"c\u0031","type":"x.custom","re":41,"ttl":60,"mentions":["bob"],"body":{"a":[1]}}`,
		`{"body":1,"re":"x"} `, `{"body":1,"ttl":1e3}`, `{"body":1,"type":"sys.add"}`,
	} {
		f.Add([]byte(s), false)
	}
	f.Add([]byte("{"), true)
	f.Fuzz(func(t *testing.T, payload []byte, text bool) {
		before := bytes.Clone(payload)
		d, err := chat.ParseDraft(payload, chat.DraftOptions{Text: text})
		if !bytes.Equal(before, payload) {
			t.Fatal("the payload was changed")
		}
		isText := text || len(payload) == 0 || payload[0] != '{'
		if err != nil {
			if isText && len(payload) > 0 && utf8.Valid(payload) {
				t.Fatalf("refuses the text %q: %v", payload, err)
			}
			return
		}
		body := d.AppendBody(nil)
		if err := chat.CheckJSON(body, chat.MaxJSONDepth); err != nil {
			t.Fatalf("body %q: %v", body, err)
		}
		if isText {
			var back string
			if err := json.Unmarshal(body, &back); err != nil || back != string(payload) {
				t.Fatalf("text %q became %q", payload, body)
			}
			return
		}
		checkAgainstMap(t, payload, d, body)
	})
}

// checkAgainstMap compares an accepted JSON draft with what encoding/json reads.
func checkAgainstMap(t *testing.T, payload []byte, d chat.Draft, body []byte) {
	t.Helper()
	if !strictJSON(payload, chat.MaxJSONDepth) {
		t.Fatalf("accepts %q", payload)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(payload, &raw); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw["body"], body) || !bytes.Equal(raw["re"], d.Re) || !bytes.Equal(raw["mentions"], d.Mentions) {
		t.Fatalf("draft %q became %+v", payload, d)
	}
	want := struct {
		CID  string
		Type string
		TTL  int64
	}{Type: chat.TypeText}
	for key, into := range map[string]any{"cid": &want.CID, "type": &want.Type, "ttl": &want.TTL} {
		if v, ok := raw[key]; ok {
			if err := json.Unmarshal(v, into); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want.CID != string(d.CID) || want.Type != d.Type || want.TTL != d.TTL {
		t.Fatalf("draft %q became %+v, want %+v", payload, d, want)
	}
	if d.CID != nil && !chat.ValidCID(d.CID) || !chat.ValidType(d.Type) || chat.IsSystem(d.Type) {
		t.Fatalf("accepts %+v", d)
	}
	for key := range raw {
		switch key {
		case "body", "cid", "type", "re", "ttl", "mentions":
		default:
			t.Fatalf("accepts the key %q", key)
		}
	}
}

func BenchmarkParseDraft(b *testing.B) {
	for name, s := range map[string]string{
		"text256": strings.Repeat("the quick brown fox ", 13)[:256],
		"json256": `{"cid":"0190163d-8694","body":"` + strings.Repeat("the quick brown fox ", 13)[:222] + `"}`,
		"nested":  `{"cid":"7f3a","type":"reaction","re":41,"mentions":["bob","eve"],"body":{"emoji":"😀","list":[1,2,{"a":"b"}]}}`,
	} {
		in := []byte(s)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := chat.ParseDraft(in, chat.DraftOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
