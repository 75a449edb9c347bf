package mqttest

import (
	"context"
	"fmt"
)

// Subscribe sends a SUBSCRIBE for all filters with QoS 1 and waits for the SUBACK.
func (c *Client) Subscribe(ctx context.Context, filters ...string) (*Granted, error) {
	subs := make([]Subscription, len(filters))
	for i, f := range filters {
		subs[i] = Subscription{Filter: f, Options: 1}
	}
	return c.SubscribeWith(ctx, nil, subs...)
}

// SubscribeWith sends a SUBSCRIBE and waits for the SUBACK. props, for MQTT 5, may be nil. A refused filter is no error
// here: see Granted.Codes.
func (c *Client) SubscribeWith(ctx context.Context, props *Properties, subs ...Subscription) (*Granted, error) {
	return c.granted(ctx, SUBACK, func(b []byte, id uint16) []byte {
		return AppendSubscribe(b, c.version, id, props, subs)
	})
}

// Unsubscribe sends an UNSUBSCRIBE and waits for the UNSUBACK; Codes is empty for MQTT 3.1.1.
func (c *Client) Unsubscribe(ctx context.Context, filters ...string) (*Granted, error) {
	return c.granted(ctx, UNSUBACK, func(b []byte, id uint16) []byte {
		return AppendUnsubscribe(b, c.version, id, filters)
	})
}

func (c *Client) granted(ctx context.Context, answer byte, encode func([]byte, uint16) []byte) (*Granted, error) {
	id, ch := c.expectRequest(answer)
	v, err := c.roundTrip(ctx, answer, id, ch, func(b []byte) []byte { return encode(b, id) })
	if err != nil {
		return nil, err
	}
	return v.(*Granted), nil
}

// PublishWait sends p at QoS 1 or 2 and waits for its PUBACK, PUBCOMP or refusing PUBREC. An ID of 0 is replaced by NextID.
// A reason code ≥ 0x80 is no error here: see Ack.Code.
func (c *Client) PublishWait(ctx context.Context, p *Publish) (*Ack, error) {
	if p.ID == 0 {
		p.ID = c.NextID()
	}
	ch := c.expect(PUBACK, p.ID)
	v, err := c.roundTrip(ctx, PUBACK, p.ID, ch, func(b []byte) []byte { return AppendPublish(b, c.version, p) })
	if err != nil {
		return nil, err
	}
	return v.(*Ack), nil
}

// Ping sends PINGREQ and waits for PINGRESP. At most one Ping may be under way.
func (c *Client) Ping(ctx context.Context) error {
	ch := c.expect(PINGRESP, 0)
	_, err := c.roundTrip(ctx, PINGRESP, 0, ch, func(b []byte) []byte { return append(b, PINGREQ<<4, 0) })
	return err
}

func waitKey(answer byte, id uint16) uint32 { return uint32(answer)<<16 | uint32(id) }

// expect registers interest in one answer before its request is sent.
func (c *Client) expect(answer byte, id uint16) chan any {
	ch := make(chan any, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[waitKey(answer, id)] = ch
	return ch
}

// expectRequest is expect with a free identifier of the range that NextID leaves alone.
func (c *Client) expectRequest(answer byte) (uint16, chan any) {
	ch := make(chan any, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	id := uint16(65_535)
	for c.waiting[waitKey(SUBACK, id)] != nil || c.waiting[waitKey(UNSUBACK, id)] != nil {
		id--
	}
	c.waiting[waitKey(answer, id)] = ch
	return id, ch
}

func (c *Client) hasWaiters() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) > 0
}

// answer hands v to who waits for it; an answer nobody waits for is dropped.
func (c *Client) answer(packet byte, id uint16, v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := waitKey(packet, id)
	if ch := c.waiting[key]; ch != nil {
		delete(c.waiting, key)
		ch <- v
	}
}

func (c *Client) roundTrip(ctx context.Context, answer byte, id uint16, ch chan any, encode func([]byte) []byte) (any, error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, waitKey(answer, id))
	}()
	if err := c.out.add(encode); err != nil {
		return nil, err
	}
	if err := c.out.flush(); err != nil {
		return nil, err
	}
	select {
	case v := <-ch:
		return v, nil
	case <-c.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for packet type %d, identifier %d: %w", answer, id, ctx.Err())
	}
	select { // the answer may have come just before the end
	case v := <-ch:
		return v, nil
	default:
		return nil, c.err
	}
}
