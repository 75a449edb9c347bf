package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as 200ms, 30s, 12h or 30d.
type Duration time.Duration

// Size is a number of bytes that is written as 512B, 256KiB, 64MiB or 1GiB.
type Size int64

// The units of sizes.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// Retention is a retention policy: forever, delivered, or a duration.
type Retention string

const day = 24 * time.Hour

var errDuration = errors.New("not a duration such as 200ms, 30s, 12h or 30d")

// ParseDuration reads what Go reads as a duration, with days in front: 30d, 1d12h.
// It is not negative.
func ParseDuration(s string) (Duration, error) {
	var days time.Duration
	rest := s
	if d, r, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(d, 10, 32)
		if err != nil || time.Duration(n) > math.MaxInt64/day {
			return 0, errDuration
		}
		days, rest = time.Duration(n)*day, r
		if rest == "" {
			return Duration(days), nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || days+d < 0 || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") {
		return 0, errDuration
	}
	return Duration(days + d), nil
}

// String returns the shortest form that ParseDuration reads.
func (d Duration) String() string {
	if d == 0 {
		return "0"
	}
	days, rest := time.Duration(d)/day, time.Duration(d)%day
	s := ""
	if days > 0 {
		s = fmt.Sprintf("%dd", days)
	}
	if rest > 0 {
		r := rest.String()
		if strings.HasSuffix(r, "m0s") {
			r = strings.TrimSuffix(r, "0s")
		}
		if strings.HasSuffix(r, "h0m") {
			r = strings.TrimSuffix(r, "0m")
		}
		s += r
	}
	return s
}

var sizeUnits = []struct {
	suffix string
	size   Size
}{{"TiB", 1 << 40}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}, {"", 1}}

// ParseSize reads a whole number of B, KiB, MiB, GiB or TiB; without a unit it is
// bytes. It is not negative.
func ParseSize(s string) (Size, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || n > math.MaxInt64/uint64(u.size) {
			break
		}
		return Size(n) * u.size, nil
	}
	return 0, errors.New("not a size such as 512B, 256KiB, 64MiB or 1GiB")
}

// String returns the shortest form that ParseSize reads, exactly.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", s/u.size, u.suffix)
		}
	}
	return "0"
}

// setText sets a field from its text form. The error does not name the field.
func setText(v reflect.Value, text string) (err error) {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *Retention:
		*p = Retention(text)
	case *int:
		var n int64
		if n, err = strconv.ParseInt(text, 10, 0); err != nil {
			err = errors.New("not a whole number")
		}
		*p = int(n)
	case *Duration:
		*p, err = ParseDuration(text)
	case *Size:
		*p, err = ParseSize(text)
	case *[]string:
		*p = splitList(text)
	default:
		panic(fmt.Sprintf("config: field of type %T", p))
	}
	if err != nil {
		return fmt.Errorf("%q is %w", text, err)
	}
	return nil
}

// splitList reads a list that is separated by commas.
func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// text returns the text form of a field.
func text(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case []string:
		return strings.Join(x, ",")
	default:
		return fmt.Sprint(x)
	}
}

// typeName is what flags and documents call the type of a field.
func typeName(v reflect.Value) string {
	switch v.Interface().(type) {
	case int:
		return "number"
	case Duration:
		return "duration"
	case Size:
		return "size"
	case []string:
		return "list"
	default:
		return "text"
	}
}
