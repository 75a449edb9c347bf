package conformance_test

import (
	"strings"
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT3-2.2.2-1, MQTT3-2.2.2-2, MQTT3-3.6.1-1, MQTT3-3.8.1-1, MQTT3-3.10.1-1, MQTT3-3.14.1-1, MQTT3-4.8.0-1.
// Shows MQTT5-2.1.3-1, MQTT5-3.6.1-1, MQTT5-3.8.1-1, MQTT5-3.10.1-1, MQTT5-3.14.1-1, MQTT5-3.15.1-1.
// Shows MQTT5-4.13.1-1, MQTT5-4.13.2-1.
func TestReservedFlags(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		props := []byte{0}
		if version == v3 {
			props = nil
		}
		for name, c := range map[string]struct {
			right byte // the flags that are right
			body  [][]byte
		}{
			"PUBACK":      {0, [][]byte{{0, 1}}},
			"PUBREC":      {0, [][]byte{{0, 1}}},
			"PUBREL":      {2, [][]byte{{0, 1}}},
			"PUBCOMP":     {0, [][]byte{{0, 1}}},
			"SUBSCRIBE":   {2, [][]byte{{0, 1}, props, str("a"), {0}}},
			"UNSUBSCRIBE": {2, [][]byte{{0, 1}, props, str("a")}},
			"PINGREQ":     {0, nil},
			"DISCONNECT":  {0, nil},
			"AUTH":        {0, nil},
		} {
			kind := map[string]byte{
				"PUBACK": 4, "PUBREC": 5, "PUBREL": 6, "PUBCOMP": 7, "SUBSCRIBE": 8, "UNSUBSCRIBE": 10, "PINGREQ": 12, "DISCONNECT": 14, "AUTH": 15,
			}[name]
			for flags := range byte(16) {
				if flags == c.right || flags > 3 && flags != 8 && flags != 15 {
					continue
				}
				connect(t, version).refused(name, packetOf(kind<<4|flags, c.body...), 0x81, 0x82)
			}
		}
	})
}

// Shows MQTT3-2.3.1-1, MQTT3-2.3.1-5, MQTT5-2.2.1-2, MQTT5-2.2.1-3.
func TestPacketIdentifierZero(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		p := connect(t, version)
		props := p.props()
		for name, b := range map[string][]byte{
			"PUBLISH QoS 1": packetOf(0x32, str("a"), []byte{0, 0}, props),
			"PUBLISH QoS 2": packetOf(0x34, str("a"), []byte{0, 0}, props),
			"SUBSCRIBE":     packetOf(0x82, []byte{0, 0}, props, str("a"), []byte{0}),
			"UNSUBSCRIBE":   packetOf(0xa2, []byte{0, 0}, props, str("a")),
		} {
			connect(t, version).refused(name, b, 0x81, 0x82)
		}
		// QoS 0 has none: the first bytes behind the topic are payload, or properties.
		topic := unique()
		p.subscribe(qos(0), topic)
		p.send(packetOf(0x30, str(topic), props, []byte{0, 7, 'x'}))
		p.take("\x00\x07x")
	})
}

// Shows MQTT3-3.3.1-2, MQTT3-3.3.1-4, MQTT3-3.3.2-2, MQTT3-4.7.1-1, MQTT3-4.7.3-1, MQTT3-4.7.3-2, MQTT3-3.3.2-1.
// Shows MQTT5-3.3.1-2, MQTT5-3.3.1-4, MQTT5-3.3.2-1, MQTT5-3.3.2-2, MQTT5-4.7.0-1, MQTT5-4.7.3-1, MQTT5-4.7.3-2.
func TestMalformedPublish(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		props := connect(t, version).props()
		for name, c := range map[string]struct {
			b     []byte
			codes []byte
		}{
			"QoS 3":                 {packetOf(0x36, str("a"), []byte{0, 1}, props), []byte{0x81}},
			"DUP with QoS 0":        {packetOf(0x38, str("a"), props), []byte{0x81, 0x82}},
			"topic cut short":       {packetOf(0x30, []byte{0, 9, 'a'}), []byte{0x81}},
			"no topic":              {packetOf(0x30), []byte{0x81}},
			"empty topic":           {packetOf(0x30, str(""), props), []byte{0x81, 0x82, 0x90}},
			"topic with +":          {packetOf(0x30, str("a/+/b"), props), []byte{0x81, 0x90}},
			"topic with # at QoS 1": {packetOf(0x32, str("a/#"), []byte{0, 1}, props), []byte{0x81, 0x90}},
		} {
			connect(t, version).refused(name, c.b, c.codes...)
		}
		for name, bad := range badStrings {
			connect(t, version).refused("topic with "+name, packetOf(0x32, str(bad), []byte{0, 1}, props), 0x81, 0x90)
		}
	})
}

// Shows MQTT3-3.8.3-1, MQTT3-3.8.3-3, MQTT3-3.8.3-4, MQTT3-3.10.3-1, MQTT3-3.10.3-2.
// Shows MQTT5-3.8.3-1, MQTT5-3.8.3-2, MQTT5-3.8.3-5, MQTT5-3.10.3-1, MQTT5-3.10.3-2.
func TestMalformedSubscribe(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		props := connect(t, version).props()
		sub := func(parts ...[]byte) []byte { return packetOf(0x82, append([][]byte{{0, 1}, props}, parts...)...) }
		unsub := func(parts ...[]byte) []byte { return packetOf(0xa2, append([][]byte{{0, 1}, props}, parts...)...) }
		cases := map[string][]byte{
			"SUBSCRIBE without filters":          sub(),
			"SUBSCRIBE without options":          sub(str("a")),
			"SUBSCRIBE cut short":                sub([]byte{0, 9, 'a'}),
			"SUBSCRIBE QoS 3":                    sub(str("a"), []byte{3}),
			"SUBSCRIBE with bit 7":               sub(str("a"), []byte{0x80}),
			"SUBSCRIBE with bit 6":               sub(str("a"), []byte{0x40}),
			"SUBSCRIBE with a bad second filter": sub(str("a"), []byte{0}, str("b"), []byte{0xc1}),
			"UNSUBSCRIBE without filters":        unsub(),
			"UNSUBSCRIBE cut short":              unsub([]byte{0, 9, 'a'}),
		}
		if version == v3 {
			cases["SUBSCRIBE with bit 2"] = sub(str("a"), []byte{4})
		} else {
			cases["SUBSCRIBE with retain handling 3"] = sub(str("a"), []byte{0x30})
		}
		for name, bad := range badStrings {
			cases["SUBSCRIBE filter with "+name] = sub(str(bad), []byte{0})
			cases["UNSUBSCRIBE filter with "+name] = unsub(str(bad))
		}
		for name, b := range cases {
			connect(t, version).refused(name, b, 0x81, 0x82, 0x8f)
		}
	})
}

// Shows MQTT5-1.5.5-1, MQTT5-1.5.7-1, MQTT5-2.2.2-1, MQTT5-3.2.2-17, MQTT5-3.2.2-18, MQTT5-3.3.2-8, MQTT5-3.3.2-9.
// Shows MQTT5-3.3.2-13, MQTT5-3.3.2-14, MQTT5-3.3.2-19, MQTT5-3.3.4-6.
func TestMalformedProperties(t *testing.T) {
	t.Parallel()
	p := connect(t, v5)
	over := p.ack.Props.Numbers[mqttest.PropTopicAliasMaximum] + 1
	publish := func(section ...byte) []byte {
		return packetOf(0x30, str("a"), []byte{byte(len(section))}, section, []byte("x"))
	}
	text := func(id byte, s string) []byte { return publish(append([]byte{id}, str(s)...)...) }
	cases := map[string]struct {
		b     []byte
		codes string
	}{
		"remaining length in two bytes for one":   {[]byte{0xc0, 0x80, 0x00}, "\x81"},
		"remaining length of five bytes":          {[]byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x01}, "\x81"},
		"property length in two bytes for one":    {packetOf(0x30, str("a"), []byte{0x80, 0x00}), "\x81"},
		"no property length":                      {packetOf(0x30, str("a")), "\x81"},
		"property length beyond the packet":       {packetOf(0x30, str("a"), []byte{9, 1, 0}), "\x81"},
		"unknown property":                        {publish(0x7f, 0), "\x81\x82"},
		"a property of CONNECT":                   {publish(0x11, 0, 0, 0, 0), "\x81\x82"},
		"payload format twice":                    {publish(1, 0, 1, 0), "\x82"},
		"payload format 2":                        {publish(1, 2), "\x81\x82"},
		"topic alias 0":                           {publish(0x23, 0, 0), "\x82\x94"},
		"topic alias above the maximum":           {publish(0x23, byte(over>>8), byte(over)), "\x82\x94"},
		"topic alias that is unknown":             {packetOf(0x30, str(""), []byte{3, 0x23, 0, 1}), "\x82\x94"},
		"subscription identifier from a client":   {publish(0x0b, 1), "\x81\x82"},
		"response topic with +":                   {text(0x08, "a/+"), "\x81\x82\x90"},
		"response topic with #":                   {text(0x08, "#"), "\x81\x82\x90"},
		"SUBSCRIBE with identifier 0":             {packetOf(0x82, []byte{0, 1, 2, 0x0b, 0}, str("a"), []byte{0}), "\x82"},
		"SUBSCRIBE identifier longer than needed": {packetOf(0x82, []byte{0, 1, 3, 0x0b, 0x81, 0}, str("a"), []byte{0}), "\x81"},
	}
	for name, bad := range badStrings {
		for where, b := range map[string][]byte{
			"response topic":      text(0x08, bad),
			"content type":        text(0x03, bad),
			"user property name":  publish(append(append([]byte{0x26}, str(bad)...), str("v")...)...),
			"user property value": publish(append(append([]byte{0x26}, str("n")...), str(bad)...)...),
		} {
			cases[where+" with "+name] = struct {
				b     []byte
				codes string
			}{b, "\x81\x82\x90"}
		}
	}
	for name, c := range cases {
		connect(t, v5).refused(name, c.b, []byte(c.codes)...)
	}
}

// Shows MQTT5-3.4.2-1, MQTT5-3.5.2-1, MQTT5-3.6.2-1, MQTT5-3.7.2-1, MQTT5-3.14.2-1, MQTT5-3.15.2-1, MQTT5-4.12.0-7.
func TestUnknownReasonCodes(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"PUBACK 0x42":     {0x40, 3, 0, 1, 0x42},
		"PUBACK 0x92":     {0x40, 3, 0, 1, 0x92},
		"PUBREC 0x01":     {0x50, 3, 0, 1, 0x01},
		"PUBREL 0x80":     {0x62, 3, 0, 1, 0x80},
		"PUBCOMP 0x10":    {0x70, 3, 0, 1, 0x10},
		"DISCONNECT 0x01": {0xe0, 1, 0x01},
		"DISCONNECT 0x8e": {0xe0, 1, 0x8e},
		"AUTH 0x18":       {0xf0, 2, 0x18, 0},
		"AUTH 0x42":       {0xf0, 2, 0x42, 0},
		"AUTH":            {0xf0, 0},
	} {
		connect(t, v5).refused(name, b, 0x81, 0x82)
	}
}

// Shows MQTT5-3.2.2-15.
func TestPacketOverTheServersMaximum(t *testing.T) {
	t.Parallel()
	p := connect(t, v5)
	limit, ok := p.ack.Props.Number(mqttest.PropMaximumPacketSize)
	if !ok {
		t.Fatal("CONNACK tells no maximum packet size")
	}
	topic := unique()
	s := fresh(t, v5, qos(0), topic)
	fits := strings.Repeat("x", int(limit)-1-3-2-len(topic)-1)
	// A packet of the maximum's size is taken, though its message may be refused.
	if p.published(mqttest.Publish{Topic: topic, Payload: []byte(fits[2:]), QoS: 1}) < 0x80 {
		s.take(fits[2:])
	}
	p.refused("one byte too many", mqttest.AppendPublish(nil, v5, &mqttest.Publish{Topic: topic, Payload: []byte(fits + "x")}), 0x95)
}
