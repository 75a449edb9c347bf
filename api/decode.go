package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"tidings/chat"
)

// carrierKey names a request; it belongs to the carrier.
const carrierKey = "rid"

// decode reads parameters into the struct that in points to: strict JSON, and no
// key that the struct does not have. Fields with the tag required have to be
// there and not null.
func decode(params []byte, in any) error {
	if len(params) == 0 {
		params = []byte("{}")
	}
	if err := chat.CheckJSON(params, chat.MaxJSONDepth); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(params, &members); err != nil || members == nil {
		return malformed("the parameters have to be a JSON object")
	}
	delete(members, carrierKey)
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := jsonName(f)
		raw, ok := members[key]
		delete(members, key)
		if !ok || string(raw) == "null" {
			if f.Tag.Get("required") != "" {
				return malformed(fmt.Sprintf("%q is missing", key))
			}
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(v.Field(i).Addr().Interface()); err != nil {
			return malformed(wrongValue(key, f.Type, err))
		}
	}
	for key := range members {
		return malformed("there is no parameter " + quoted(key))
	}
	return nil
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// wrongValue says what a parameter should be. It quotes nothing of the value.
func wrongValue(key string, t reflect.Type, err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		t = e.Type
		if e.Field != "" {
			key += "." + e.Field
		}
	} else if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Sprintf("%q has the unknown key %s", key, quoted(strings.Trim(name, `"`)))
	}
	return fmt.Sprintf("%q has to be %s", key, typeWords(t))
}

// typeWords names a type as JSON has it.
func typeWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeWords(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number that is not negative"
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}

// quoted returns a client's key for a sentence, if it looks like a name at all.
func quoted(key string) string {
	if len(key) > 32 {
		return "of that name"
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' || key[i] == '"' {
			return "of that name"
		}
	}
	return `"` + key + `"`
}
