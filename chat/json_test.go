package chat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"tidings/chat"
)

func TestCheckJSON(t *testing.T) {
	for _, ok := range []string{
		`0`, `-0`, `10`, `-1.5e+10`, `1E9`, `1e-7`, `true`, `false`, `null`, `""`, `"a"`, `" \t"`, "\"\x7f\"", `[]`, `[ ]`, `{ }`,
		` [1 , 2,{"a":[]}] `, "\r\n\t1\t", `{"a":1,"A":2}`, `{"a":{"a":1},"b":{"a":2}}`, `[{"a":1},{"a":1}]`,
		`"\"\\\/\b\f\n\r\té"`, `"\ud83d\ude00"`, `"\uD83D\uDE00"`, `"ö😀"`, `"\u0000"`, `{"":0}`,
		strings.Repeat("[", 32) + strings.Repeat("]", 32),
		`{"a":` + strings.Repeat(`{"a":`, 31) + `1` + strings.Repeat(`}`, 32),
	} {
		if err := chat.CheckJSON([]byte(ok), 32); err != nil {
			t.Errorf("CheckJSON(%q): %v", ok, err)
		}
	}
	for _, bad := range []struct {
		json string
		at   int
	}{
		{``, 0},
		{` `, 1},
		{`01`, 1},
		{`+1`, 0},
		{`-`, 0},
		{`1.`, 0},
		{`.5`, 0},
		{`1e`, 0},
		{`1e+`, 0},
		{`0x1`, 1},
		{`NaN`, 0},
		{`tru`, 0},
		{`truee`, 4},
		{`nul`, 0},
		{`'a'`, 0},
		{`"a`, 2},
		{`"\`, 1},
		{`"\x"`, 1},
		{`"\u12"`, 1},
		{`"\u12g4"`, 1},
		{`"\ud83d"`, 1},
		{`"\ude00"`, 1},
		{`"\ud83d\ud83d"`, 1},
		{`"\ud83dx\ude00"`, 1},
		{"\"\x00\"", 1},
		{"\"a\nb\"", 2},
		{"\"\xff\"", 1},
		{"\"\xed\xa0\x80\"", 1},
		{"\"\xc0\x80\"", 1},
		{`[`, 1},
		{`[1`, 2},
		{`[1,`, 3},
		{`[1,]`, 3},
		{`[,1]`, 1},
		{`[1 2]`, 3},
		{`[1}`, 2},
		{`{`, 1},
		{`{"a"`, 4},
		{`{"a":`, 5},
		{`{"a":1`, 6},
		{`{"a":1,`, 7},
		{`{"a":1,}`, 7},
		{`{"a" 1}`, 5},
		{`{a:1}`, 1},
		{`{1:1}`, 1},
		{`{"a":1]`, 6},
		{`{"a":1}{`, 7},
		{`[] x`, 3},
		{"\ufeff1", 0},
		{`{"a":1,"a":2}`, 7},
		{`{"a":1,"\u0061":2}`, 7},
		{`{"\ud83d\ude00":1,"😀":2}`, 18},
		{`[{"b":{"c":0,"d":0,"c":0}}]`, 19},
		{`{"a":{"a":1},"a":2}`, 13},
		{strings.Repeat("[", 33) + strings.Repeat("]", 33), 32},
		{strings.Repeat("[", 1_000_000), 32},
	} {
		err := chat.CheckJSON([]byte(bad.json), 32)
		switch de, ok := errors.AsType[*chat.DraftError](err); {
		case !ok:
			t.Errorf("CheckJSON(%.40q) = %v, want a DraftError", bad.json, err)
		case de.Offset != bad.at || de.Code != chat.CodeMalformed || de.Message == "":
			t.Errorf("CheckJSON(%.40q) = %#v, want the fault at %d", bad.json, de, bad.at)
		}
	}
}

// TestCheckJSONManyKeys goes over the sizes at which the search for repeated
// keys changes its ways, alone and in nests.
func TestCheckJSONManyKeys(t *testing.T) {
	object := func(n, repeat int, nest string) string {
		var b strings.Builder
		b.WriteByte('{')
		for i := range n {
			fmt.Fprintf(&b, `"k%d":%s,`, i, nest)
		}
		if repeat >= 0 {
			fmt.Fprintf(&b, `"\u006b%d":0}`, repeat)
		} else {
			b.WriteString(`"last":0}`)
		}
		return b.String()
	}
	for _, n := range []int{1, 15, 16, 17, 18, 24, 25, 31, 32, 33, 100, 5000} {
		for _, inner := range []int{1, 15, 16, 17, 40} {
			nest := object(inner, -1, "{}")
			if n > 100 {
				nest = "0"
			}
			if err := chat.CheckJSON([]byte(object(n, -1, nest)), 32); err != nil {
				t.Errorf("%d keys around %d: %v", n, inner, err)
			}
			for _, repeat := range []int{0, n / 2, n - 1} {
				if err := chat.CheckJSON([]byte(object(n, repeat, nest)), 32); err == nil {
					t.Errorf("%d keys around %d: key %d may be repeated", n, inner, repeat)
				}
			}
			if err := chat.CheckJSON([]byte(object(n, -1, object(inner, inner-1, "0"))), 32); err == nil {
				t.Errorf("%d keys around %d: an inner key may be repeated", n, inner)
			}
		}
	}
	deep := strings.Repeat(object(14, -1, "0")[:len(object(14, -1, "0"))-len(`"last":0}`)]+`"last":`, 31) + `{"x":1,"x":2}` + strings.Repeat("}", 31)
	if err := chat.CheckJSON([]byte(deep), 32); err == nil {
		t.Error("a key may be repeated in the innermost of 32 objects")
	}
	if err := chat.CheckJSON([]byte(strings.Replace(deep, `"x":2`, `"y":2`, 1)), 32); err != nil {
		t.Error(err)
	}
}

var loneSurrogate = regexp.MustCompile(`\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..|\\[^u]`)

// strictJSON is CheckJSON by means of encoding/json.
func strictJSON(data []byte, maxDepth int) bool {
	if !json.Valid(data) || !utf8.Valid(data) {
		return false
	}
	for _, m := range loneSurrogate.FindAll(data, -1) {
		if len(m) == 6 {
			return false
		}
	}
	type level struct {
		keys map[string]bool // nil for an array
		key  bool            // a key comes next
	}
	var stack []level
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		if n := len(stack); n > 0 && stack[n-1].keys != nil && tok != json.Delim('}') {
			top := &stack[n-1]
			if top.key {
				if k := tok.(string); top.keys[k] {
					return false
				}
				top.keys[tok.(string)] = true
			}
			if top.key = !top.key; !top.key {
				continue
			}
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{keys: map[string]bool{}, key: true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		if len(stack) > maxDepth {
			return false
		}
	}
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.5e3,"ö\ud83d\ude00",null,true,{"b":{}}]}`, `{"a":1,"\u0061":2}`, `"\ud83d"`, `[[[[[[[[[]]]]]]]]]`, `01`, "\"\xff\"",
		`"\\ud83d"`, `{"0":0,"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"0":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := chat.CheckJSON(data, 8)
		if want := strictJSON(data, 8); (err == nil) != want {
			t.Fatalf("CheckJSON(%q) = %v, want valid: %v", data, err, want)
		}
		if de, ok := errors.AsType[*chat.DraftError](err); err != nil && (!ok || de.Offset < 0 || de.Offset > len(data)) {
			t.Fatalf("CheckJSON(%q) = %#v", data, err)
		}
	})
}

func TestAppendTextBody(t *testing.T) {
	for text, want := range map[string]string{
		"":                             `""`,
		"hi <b>&amp;</b> ö😀\u2028\x7f": `"hi <b>&amp;</b> ö😀` + "\u2028\x7f" + `"`,
		"a\"b\\c/d":                    `"a\"b\\c/d"`,
		"1\n2\r3\t4\x005\x1f6\b":       `"1\n2\r3\t4\u00005\u001f6\u0008"`,
	} {
		if got, err := chat.AppendTextBody([]byte("x"), []byte(text)); err != nil || string(got) != "x"+want {
			t.Errorf("AppendTextBody(%q) = %s, %v, want %s", text, got, err, want)
		}
	}
	got, err := chat.AppendTextBody([]byte("x"), []byte("ab\xc3"))
	if de, ok := errors.AsType[*chat.DraftError](err); !ok || de.Offset != 2 || string(got) != "x" {
		t.Errorf("got %q, %#v", got, err)
	}
}

func FuzzAppendTextBody(f *testing.F) {
	for _, s := range []string{"", "hi", "a\"b\\c\n\x00\x1f\x7f<>&\u2028", "12345678\"", "ööö😀", "a\xff", "1234567\xe2\x82"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := chat.AppendTextBody([]byte("x"), text)
		if (err == nil) != utf8.Valid(text) {
			t.Fatalf("AppendTextBody(%q): %v", text, err)
		}
		if err != nil {
			if string(got) != "x" {
				t.Fatalf("AppendTextBody(%q) fails and leaves %q", text, got)
			}
			return
		}
		if err := chat.CheckJSON(got[1:], 0); err != nil {
			t.Fatalf("AppendTextBody(%q) = %q: %v", text, got, err)
		}
		var back string
		if err := json.Unmarshal(got[1:], &back); err != nil || back != string(text) {
			t.Fatalf("AppendTextBody(%q) = %q, which reads %q, %v", text, got, back, err)
		}
		if bytes.ContainsAny(text, "<>&") && bytes.Contains(got, []byte(`\u003`)) {
			t.Fatalf("AppendTextBody(%q) = %q escapes more than JSON demands", text, got)
		}
	})
}

func BenchmarkAppendTextBody(b *testing.B) {
	for name, text := range map[string]string{
		"ascii256": strings.Repeat("the quick brown fox ", 13)[:256], "cyrillic256": strings.Repeat("съешь ещё ", 15)[:256], "short": "hi bob, are you there?",
	} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			in := []byte(text)
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = chat.AppendTextBody(dst[:0], in)
			}
		})
	}
}

// BenchmarkCheckJSONHostile shows that 256 KiB of keys cost the same per byte,
// whatever their shape.
func BenchmarkCheckJSONHostile(b *testing.B) {
	shapes := map[string]string{}
	var keys strings.Builder
	for i := range 35_000 {
		fmt.Fprintf(&keys, `"%x":0,`, i)
	}
	shapes["one-object"] = "{" + keys.String() + `"":0}`
	var small strings.Builder
	for i := range 17 {
		fmt.Fprintf(&small, `"%x":0,`, i)
	}
	shapes["many-objects"] = "[" + strings.Repeat("{"+small.String()+`"":0},`, 2500) + "0]"
	shapes["string"] = `"` + strings.Repeat("x", 256<<10) + `"`
	for name, s := range shapes {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				_ = chat.CheckJSON([]byte(s), 32)
			}
		})
	}
}
