package api

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"

	"tidings/delivery"
)

// Operation describes one entry of a table.
type Operation struct {
	Name  string       // such as "group.create"
	Doc   string       // a sentence
	Reads bool         // changes nothing, so that it may be repeated freely
	In    reflect.Type // struct of the parameters: tags json, doc and required
	Out   reflect.Type // struct of the result; tags json (or key and type) and doc

	run func(ctx context.Context, who delivery.Identity, params []byte) ([]byte, error)
}

// result is a result that has a part to be passed on byte for byte, which
// encoding/json would rewrite. That part's field has the tags key and type instead
// of json.
type result interface{ encode() ([]byte, error) }

// nothing is the result of operations that have nothing to tell.
type nothing struct{}

// read makes an operation that changes nothing.
func read[In, Out any](name, doc string, run func(context.Context, delivery.Identity, *In) (Out, error)) Operation {
	op := change(name, doc, run)
	op.Reads = true
	return op
}

// change makes an operation that changes something.
func change[In, Out any](name, doc string, run func(context.Context, delivery.Identity, *In) (Out, error)) Operation {
	return Operation{
		Name: name, Doc: doc, In: reflect.TypeFor[In](), Out: reflect.TypeFor[Out](),
		run: func(ctx context.Context, who delivery.Identity, params []byte) ([]byte, error) {
			var in In
			if err := decode(params, &in); err != nil {
				return nil, err
			}
			out, err := run(ctx, who, &in)
			if err != nil {
				return nil, err
			}
			return encode(out)
		},
	}
}

// encode writes a result as one line of JSON.
func encode(v any) ([]byte, error) {
	if r, ok := v.(result); ok {
		return r.encode()
	}
	return plain(v)
}

func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// splice adds a member with a raw value to an encoded object.
func splice(object []byte, key string, raw []byte) []byte {
	object = object[:len(object)-1]
	if len(object) > 1 {
		object = append(object, ',')
	}
	object = append(append(append(object, '"'), key...), `":`...)
	return append(append(object, raw...), '}')
}
