package mqttest_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"tidings/internal/mqttest"
)

func TestReadPacket(t *testing.T) {
	sent := mqttest.AppendPublish(nil, mqttest.V5, &mqttest.Publish{Topic: "a/b", Payload: make([]byte, 200), QoS: 2, ID: 7, Retain: true})
	size := len(sent)
	sent = mqttest.AppendAck(sent, mqttest.V5, mqttest.PUBREL, 9, 0x92)
	r := bufio.NewReader(bytes.NewReader(sent))
	p, err := mqttest.ReadPacket(r)
	if err != nil || p.Type() != mqttest.PUBLISH || p.Size() != size {
		t.Fatalf("%v of %d bytes, %v", p, p.Size(), err)
	}
	m, err := p.Message(mqttest.V5)
	if err != nil || string(m.Topic) != "a/b" || len(m.Payload) != 200 || m.QoS != 2 || m.ID != 7 || !m.Retain {
		t.Errorf("%+v %v", m, err)
	}
	p, err = mqttest.ReadPacket(r)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := p.Ack(mqttest.V5); err != nil || a.Type != mqttest.PUBREL || a.ID != 9 || a.Code != 0x92 {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := mqttest.ReadPacket(r); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for _, cut := range []int{1, 2, size - 1} {
		_, err := mqttest.ReadPacket(bufio.NewReader(bytes.NewReader(sent[:cut])))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	if _, err := mqttest.ReadPacket(bufio.NewReader(bytes.NewReader([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}))); !errors.Is(err, mqttest.ErrMalformed) {
		t.Errorf("five length bytes: %v", err)
	}
}
