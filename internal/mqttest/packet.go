package mqttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Packet is one control packet as it came, for tests that take packets one by one instead of through a Client.
type Packet struct {
	First byte   // the fixed header's first byte
	Body  []byte // what follows the remaining length
}

// ReadPacket reads the next packet. The error is io.EOF where the stream ends between packets, and io.ErrUnexpectedEOF
// where it ends in one.
func ReadPacket(r *bufio.Reader) (Packet, error) {
	first, err := r.ReadByte()
	if err != nil {
		return Packet{}, err
	}
	var head []byte
	for n, size := 0, 0; ; {
		b, err := r.ReadByte()
		if err != nil {
			return Packet{}, inPacket(err)
		}
		head = append(head, b)
		if n, size = readVarint(head); size == 0 {
			continue
		}
		if size < 0 {
			return Packet{}, fmt.Errorf("%w: remaining length", ErrMalformed)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return Packet{}, inPacket(err)
		}
		return Packet{first, body}, nil
	}
}

func inPacket(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Type is the packet's type.
func (p Packet) Type() byte { return p.First >> 4 }

// Size is the length of the whole packet in bytes.
func (p Packet) Size() int { return 1 + len(appendVarint(nil, len(p.Body))) + len(p.Body) }

// String shows type and bytes.
func (p Packet) String() string {
	return fmt.Sprintf("type %d: %02x … %x", p.Type(), p.First, p.Body)
}

// Message parses a PUBLISH, which shares the packet's memory.
func (p Packet) Message(version byte) (*Message, error) {
	m := new(Message)
	return m, parsePublish(m, version, p.First, p.Body)
}

// Ack parses a PUBACK, PUBREC, PUBREL or PUBCOMP, which shares the packet's memory.
func (p Packet) Ack(version byte) (*Ack, error) {
	a := new(Ack)
	return a, parseAck(a, version, p.First, p.Body)
}

// ConnAck parses a CONNACK.
func (p Packet) ConnAck(version byte) (*ConnAck, error) { return parseConnAck(version, p.Body) }

// Granted parses a SUBACK or UNSUBACK.
func (p Packet) Granted(version byte) (id uint16, g *Granted, err error) {
	return parseGranted(version, p.Body)
}

// Disconnect parses a DISCONNECT.
func (p Packet) Disconnect(version byte) (*Disconnected, error) {
	return parseDisconnect(version, p.Body)
}
