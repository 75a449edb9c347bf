package mqttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ErrClosed is the end of a connection that this side closed.
var ErrClosed = errors.New("connection closed by this client")

// Refused is a CONNACK that says no.
type Refused struct{ ConnAck *ConnAck }

// Error names the reason code.
func (r *Refused) Error() string {
	return fmt.Sprintf("CONNACK %#02x %s", r.ConnAck.Code, r.ConnAck.Props.Strings[PropReasonString])
}

// Client is one MQTT network connection. All methods may be called from any goroutine; those that wait for an answer
// (Subscribe, Unsubscribe, PublishWait, Ping, Next, Close, Drop, Disconnect) not from a callback.
type Client struct {
	opts    Options
	version byte
	conn    net.Conn
	out     *output
	connAck *ConnAck
	done    chan struct{} // closed when the reader has ended; err is set before
	err     error

	mu      sync.Mutex
	closing bool                // this side ends the connection
	waiting map[uint32]chan any // packet type and identifier of a request → its answer
	nextID  uint16
	inbox   inbox
}

// Dial connects, sends CONNECT and waits for the CONNACK. A refusal is a *Refused.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.connectTimeout())
	defer cancel()
	conn := opts.Conn
	if conn == nil {
		var d net.Dialer
		var err error
		if conn, err = d.DialContext(ctx, "tcp", opts.Addr); err != nil {
			return nil, err
		}
	}
	c := newClient(opts, conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	buf, err := c.handshake()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("connect: %w", ctx.Err())
		}
		return nil, err
	}
	go c.read(buf)
	return c, nil
}

func newClient(opts Options, conn net.Conn) *Client {
	if opts.OutputLimit == 0 {
		opts.OutputLimit = 1 << 20
	}
	if opts.ReadBuffer == 0 {
		opts.ReadBuffer = 4 << 10
	}
	c := &Client{opts: opts, version: opts.version(), conn: conn, done: make(chan struct{}), waiting: make(map[uint32]chan any)}
	c.out = newOutput(conn, opts.OutputLimit)
	c.inbox.init()
	if tcp, ok := conn.(*net.TCPConn); ok && opts.LingerReset {
		tcp.SetLinger(0)
	}
	return c
}

// handshake sends CONNECT, reads up to the CONNACK and returns what came behind it in the read buffer.
func (c *Client) handshake() ([]byte, error) {
	if _, err := c.conn.Write(AppendConnect(nil, &c.opts)); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, c.opts.ReadBuffer)
	for {
		first, body, size, need, err := frame(buf)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			buf = grow(buf, need)
			n, err := c.conn.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			if n == 0 && err != nil {
				return nil, fmt.Errorf("before CONNACK: %w", err)
			}
			continue
		}
		if first != CONNACK<<4 {
			return nil, fmt.Errorf("%w: first byte %#02x before CONNACK", ErrMalformed, first)
		}
		if c.connAck, err = parseConnAck(c.version, body); err != nil {
			return nil, err
		}
		if c.connAck.Code != 0 {
			return nil, &Refused{c.connAck}
		}
		return buf[:copy(buf, buf[size:])], nil
	}
}

// ConnAck returns the server's answer to CONNECT.
func (c *Client) ConnAck() *ConnAck { return c.connAck }

// Version is the protocol level, V311 or V5.
func (c *Client) Version() byte { return c.version }

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err waits for the end of the connection and returns its cause: ErrClosed, a *Disconnected of the server, or a network error.
func (c *Client) Err() error {
	<-c.done
	return c.err
}

// NextID returns packet identifiers 1, 2, … 60,000, 1, …; those above are left for SUBSCRIBE and UNSUBSCRIBE. It does not
// know which are in use: a caller with more publishes in flight than that must choose its own.
func (c *Client) NextID() uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextID = c.nextID%60_000 + 1
	return c.nextID
}

// Queue appends a PUBLISH without writing it: the next flush does. In a callback that is the end of the current read.
func (c *Client) Queue(p *Publish) error {
	return c.out.add(func(b []byte) []byte { return AppendPublish(b, c.version, p) })
}

// Publish sends p and does not wait for its ack.
func (c *Client) Publish(p *Publish) error {
	if err := c.Queue(p); err != nil {
		return err
	}
	return c.out.flush()
}

// Ack sends the PUBACK of a delivery; a reason code other than 0 reaches MQTT 5 servers only. In a callback it leaves at
// the end of the current read, elsewhere at once.
func (c *Client) Ack(id uint16, code byte) error {
	if err := c.QueueAck(id, code); err != nil {
		return err
	}
	return c.out.flush()
}

// QueueAck is Ack without the write.
func (c *Client) QueueAck(id uint16, code byte) error {
	return c.out.add(func(b []byte) []byte { return AppendAck(b, c.version, PUBACK, id, code) })
}

// Flush writes what Queue and QueueAck gathered.
func (c *Client) Flush() error { return c.out.flush() }

// WriteRaw sends b as it is, in order with everything else.
func (c *Client) WriteRaw(b []byte) error {
	if err := c.out.add(func(o []byte) []byte { return append(o, b...) }); err != nil {
		return err
	}
	return c.out.flush()
}

// Close ends the connection as a crash of the client would: no DISCONNECT. Alias of Drop, for defer and t.Cleanup.
func (c *Client) Close() error {
	c.Drop()
	return nil
}

// Drop closes the network connection without DISCONNECT and waits for the reader.
func (c *Client) Drop() {
	c.beginClose()
	c.conn.Close()
	<-c.done
}

// Disconnect sends DISCONNECT 0x00 behind everything queued, closes and waits for the reader.
func (c *Client) Disconnect() { c.DisconnectWith(0, nil) }

// DisconnectWith is Disconnect with a reason code and properties (MQTT 5).
func (c *Client) DisconnectWith(code byte, props *Properties) {
	c.beginClose()
	c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	if c.out.add(func(b []byte) []byte { return AppendDisconnect(b, c.version, code, props) }) == nil {
		_ = c.out.flush() // a peer that is gone needs no DISCONNECT
	}
	// Closing our sending side only, and reading on until the server closes, keeps the DISCONNECT from being overtaken by
	// the RST that closing a socket with unread bytes would cause.
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		select {
		case <-c.done:
		case <-time.After(2 * time.Second):
		}
	}
	c.conn.Close()
	<-c.done
}

func (c *Client) beginClose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
}
