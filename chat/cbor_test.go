package chat_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"tidings/chat"
)

// TestCBORVectors holds examples of RFC 8949, appendix A, and the edges of ours.
func TestCBORVectors(t *testing.T) {
	for _, tt := range []struct {
		json, cbor string
		oneWay     bool // the CBOR is not what we would write
	}{
		{`0`, "00", false},
		{`23`, "17", false},
		{`24`, "1818", false},
		{`1000`, "1903e8", false},
		{`1000000`, "1a000f4240", false},
		{`18446744073709551615`, "1bffffffffffffffff", false},
		{`-1`, "20", false},
		{`-1000`, "3903e7", false},
		{`-18446744073709551616`, "3bffffffffffffffff", true},
		{`-18446744073709551615`, "3bfffffffffffffffe", false},
		{`-0`, "fa80000000", false},
		{`0`, "f90000", true},
		{`-0`, "f98000", true},
		{`1.5`, "f93e00", true},
		{`65504`, "f97bff", true},
		{`5.960464477539063e-08`, "f90001", true},
		{`6.103515625e-05`, "f90400", true},
		{`-4`, "f9c400", true},
		{`1.5`, "fa3fc00000", false},
		{`1.1`, "fb3ff199999999999a", false},
		{`1e+300`, "fb7e37e43c8800759c", false},
		{`false`, "f4", false},
		{`true`, "f5", false},
		{`null`, "f6", false},
		{`""`, "60", false},
		{`"\"\\ü"`, "64225cc3bc", false},
		{`"streaming"`, "7f657374726561646d696e67ff", true},
		{`"AQIDBA"`, "4401020304", true},
		{`"AQIDBAU"`, "5f42010243030405ff", true},
		{`[]`, "80", false},
		{`[1,[2,3],[4,5]]`, "8301820203820405", false},
		{`[1,[2,3],[4,5]]`, "9f018202039f0405ffff", true},
		{`{"a":1,"b":[2,3]}`, "a26161016162820203", false},
		{`{"Fun":true,"Amt":-2}`, "bf6346756ef563416d7421ff", true},
		{`[` + strings.Repeat("0,", 23) + `0]`, "9818" + strings.Repeat("00", 24), false},
		{`255`, "18ff", false},
		{`256`, "190100", false},
		{`65535`, "19ffff", false},
		{`4294967295`, "1affffffff", false},
		{`4294967296`, "1b0000000100000000", false},
		{`[` + strings.Repeat("0,", 255) + `0]`, "990100" + strings.Repeat("00", 256), false},
	} {
		data, err := hex.DecodeString(tt.cbor)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := chat.AppendCBORAsJSON([]byte("x"), data); err != nil || string(got) != "x"+tt.json {
			t.Errorf("%s reads as %s, %v, want %s", tt.cbor, got, err, tt.json)
		}
		if got := chat.AppendCBOR([]byte("x"), []byte(tt.json)); !tt.oneWay && !bytes.Equal(got, append([]byte("x"), data...)) {
			t.Errorf("%s is written as %x, want %s", tt.json, got[1:], tt.cbor)
		}
	}
	for _, bad := range []string{``, `{`, `{"a"`, `{"a":`, `[1`, `[1,`, `"a`, `1 1`, `{"a":1,"a":2}`, `x`, strings.Repeat("[", 40)} {
		if got := chat.AppendCBOR([]byte("x"), []byte(bad)); string(got) != "x\xf6" {
			t.Errorf("%q is written as %x", bad, got)
		}
	}
}

func TestCBORRefuses(t *testing.T) {
	for _, tt := range []struct {
		cbor string
		at   int
		says string
	}{
		{"", 0, "cut short"},
		{"18", 0, "cut short"},
		{"62c3", 0, "cut short"},
		{"7bffffffffffffffff", 0, "cut short"},
		{"9bffffffffffffffff", 9, "cut short"},
		{"82" + "01", 2, "cut short"},
		{"9f01", 2, "cut short"},
		{"a161", 1, "cut short"},
		{"a16161", 3, "cut short"},
		{"1c", 0, "well-formed"},
		{"1f", 0, "well-formed"},
		{"ff", 0, "well-formed"},
		{"81ff", 1, "well-formed"},
		{"bf6161ff", 3, "well-formed"},
		{"0000", 1, "behind"},
		{"61ff", 0, "UTF-8"},
		{"7f61c361bcff", 1, "UTF-8"},
		{"7f4101ff", 1, "chunks"},
		{"5f5f4101ffff", 1, "chunks"},
		{"a10102", 1, "keys"},
		{"c11a514b67b0", 0, "tags"},
		{"f7", 0, "no JSON form"},
		{"e0", 0, "no JSON form"},
		{"f818", 0, "no JSON form"},
		{"f97e00", 0, "NaN"},
		{"fa7f800000", 0, "NaN"},
		{"fbfff0000000000000", 0, "NaN"},
		{strings.Repeat("81", 33) + "00", 32, "deep"},
		{strings.Repeat("9f", 100_000), 32, "deep"},
	} {
		data, err := hex.DecodeString(tt.cbor)
		if err != nil {
			t.Fatal(err)
		}
		got, err := chat.AppendCBORAsJSON([]byte("x"), data)
		de, ok := errors.AsType[*chat.DraftError](err)
		if !ok || de.Offset != tt.at || !strings.Contains(de.Message, tt.says) || string(got) != "x" {
			t.Errorf("%.40s: %q, %#v, want %s at %d", tt.cbor, got, err, tt.says, tt.at)
		}
	}
}

func TestParseDraftCBOR(t *testing.T) {
	payload, err := cbor.Marshal(map[string]any{
		"body": []byte{1, 2, 3}, "cid": "c-1", "type": "encrypted", "re": 41, "ttl": 60, "mentions": []string{"bob"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := chat.ParseDraftCBOR(payload)
	if err != nil {
		t.Fatal(err)
	}
	want := chat.Draft{
		Type: "encrypted", Body: []byte(`"AQID"`), CID: []byte("c-1"), Re: []byte("41"), TTL: 60, Mentions: []byte(`["bob"]`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		payload, says string
		at            int
	}{
		{"\x61a", "map", 0},
		{"\xa0", `no "body"`, -1},
		{"\xa1\x61x\x01", `"x"`, -1},
		{"\xa2\x64body\x01\x64body\x01", "twice", -1},
		{"\xa1\x64body", "cut short", 6},
		{"", "cut short", 0},
	} {
		_, err := chat.ParseDraftCBOR([]byte(tt.payload))
		de, ok := errors.AsType[*chat.DraftError](err)
		if !ok || de.Offset != tt.at || !strings.Contains(de.Error(), tt.says) || strings.Contains(de.Error(), "-1") {
			t.Errorf("ParseDraftCBOR(%q): %#v, want %s at %d", tt.payload, err, tt.says, tt.at)
		}
	}
}

func TestEnvelopeCBOR(t *testing.T) {
	m := chat.Message{
		ID: testID(t), Seq: 41, Time: 1732430000000, Type: "text", CID: []byte("c"), Re: []byte(`"x"`), Mentions: []byte(`["bob"]`),
		Body: []byte(`{"a":[1,2.5,"ö"]}`),
	}
	v := chat.View{Chat: "u/alice", From: "alice", Device: "laptop"}
	got, err := chat.DecodeEnvelopeCBOR(chat.AppendEnvelopeCBOR(nil, &m, v))
	if err != nil {
		t.Fatal(err)
	}
	want, err := chat.DecodeEnvelope(chat.AppendEnvelope(nil, &m, v))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-JSON +CBOR):\n%s", diff)
	}
	if _, err := chat.DecodeEnvelopeCBOR([]byte{0xff}); err == nil {
		t.Error("a break is an envelope")
	}
	m.Body = []byte(strings.Repeat("[", 31) + strings.Repeat("]", 31))
	if got, err := chat.DecodeEnvelopeCBOR(chat.AppendEnvelopeCBOR(nil, &m, v)); err != nil || string(got.Body) != string(m.Body) {
		t.Errorf("the deepest body: %s, %v", got.Body, err)
	}
}

// same compares what two decoders made of one value; numbers compare as floats.
func same(a, b any) bool {
	return cmp.Equal(a, b, cmp.FilterValues(func(a, b any) bool { return isNumber(a) && isNumber(b) },
		cmp.Comparer(func(a, b any) bool { return toFloat(a) == toFloat(b) })))
}

func isNumber(v any) bool {
	switch v.(type) {
	case uint64, int64, float64:
		return true
	}
	return false
}

func toFloat(v any) float64 {
	switch v := v.(type) {
	case uint64:
		return float64(v)
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return math.NaN()
}

// FuzzCBORFromJSON has fxamacker/cbor read what is written for any JSON.
func FuzzCBORFromJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2,2.5e3,"ö",null,true,{"b":{}}]}`, `-0`, `18446744073709551616`, `1e400`, `"\ud83d\ude00"`} {
		f.Add([]byte(s))
	}
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 64,
	}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if chat.CheckJSON(data, chat.MaxJSONDepth) != nil {
			return
		}
		var want any
		if json.Unmarshal(data, &want) != nil {
			return // a number beyond a float
		}
		written := chat.AppendCBOR(nil, data)
		var got any
		if err := dec.Unmarshal(written, &got); err != nil {
			t.Fatalf("%q is written as %x: %v", data, written, err)
		}
		if got = textKeys(got); !same(want, got) {
			t.Fatalf("%q is written as %x, which reads %#v", data, written, got)
		}
		back, err := chat.AppendCBORAsJSON(nil, written)
		if err != nil {
			t.Fatalf("%q is written as %x: %v", data, written, err)
		}
		var again any
		if err := json.Unmarshal(back, &again); err != nil || !same(want, again) {
			t.Fatalf("%q is written as %x, which reads %q", data, written, back)
		}
	})
}

// textKeys turns the maps of fxamacker/cbor into those of encoding/json.
func textKeys(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, value := range v {
			m[key.(string)] = textKeys(value)
		}
		return m
	case []any:
		for i := range v {
			v[i] = textKeys(v[i])
		}
	}
	return v
}

// FuzzCBORToJSON checks that what is read is well-formed to fxamacker/cbor, and
// comes out as JSON.
func FuzzCBORToJSON(f *testing.F) {
	for _, s := range []string{"a26161016162820203", "bf6346756ef563416d7421ff", "5f42010243030405ff", "f93e00", "9f018202039f0405ffff"} {
		data, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := chat.AppendCBORAsJSON(nil, data)
		if err != nil {
			return
		}
		if err := cbor.Wellformed(data); err != nil {
			t.Fatalf("reads %x as %s: %v", data, text, err)
		}
		if !json.Valid(text) {
			t.Fatalf("reads %x as %q", data, text)
		}
	})
}

func BenchmarkAppendEnvelopeCBOR(b *testing.B) {
	m := chat.Message{ID: testID(b), Seq: 41, Time: 1732430000000, Type: "text", Body: []byte(`"` + strings.Repeat("x", 256) + `"`)}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = chat.AppendEnvelopeCBOR(buf[:0], &m, chat.View{Chat: "u/alice", From: "alice", Device: "laptop"})
	}
}
