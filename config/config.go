package config

// Config is the settings of one server. The tags are their documentation and
// rules: yaml is the last part of the key, default the value in text form, auto
// says what the default zero stands for, min, max and oneof bound the value, doc
// is the sentence for people.
type Config struct {
	Data      string    `yaml:"data" default:"tidings-data" doc:"Directory of everything that the server keeps. Made if it does not exist."`
	MQTT      string    `yaml:"mqtt" default:"127.0.0.1:1883" doc:"Address of MQTT over TCP."`
	HTTP      string    `yaml:"http" default:"127.0.0.1:8080" doc:"Address of HTTP: MQTT over WebSocket, health, metrics."`
	Node      string    `yaml:"node" default:"" auto:"made from the host name" doc:"Name of this server among others, in the form of user names. Must stay the same over restarts."`
	Retention Retention `yaml:"retention" default:"forever" doc:"How long messages are kept where a chat does not say otherwise: forever, delivered (until every device has them, at most 30d), or a duration."`

	SessionExpiryMax  Duration `yaml:"session_expiry_max" default:"90d" doc:"Longest MQTT session expiry interval that is granted. 0: no bound."`
	TopicAliasMaximum int      `yaml:"topic_alias_maximum" default:"0" min:"0" max:"65535" doc:"Topic aliases that a client may use. Some client libraries fail where there are any."`
	ConnectTimeout    Duration `yaml:"connect_timeout" default:"10s" min:"100ms" doc:"Time that a new connection has to log in."`
	WriteTimeout      Duration `yaml:"write_timeout" default:"10s" min:"100ms" doc:"Time without any progress after which a connection that does not read is closed. Nothing is lost."`
	CursorFlush       Duration `yaml:"cursor_flush" default:"200ms" min:"1ms" max:"200ms" doc:"Longest time until an acknowledgement of a device is on disk: what a crash may deliver again."`

	OpenTopics []string `yaml:"open_topics" default:"" doc:"Topic filters of open topics, where plain MQTT holds beside the chats, such as open/#. Their first level is a name, and not u, g or rpc."`
	Access     []string `yaml:"access" default:"" doc:"Rules about open topics: allow or deny, then a user, *, @group or @group:role, then publish, subscribe or all, then a topic filter with %u for the user and %c for the client identifier. The first that matches decides; what none matches is allowed."`

	Conformance     string `yaml:"conformance" default:"" doc:"Address of the conformance listener, on loopback only, such as 127.0.0.1:1884: it lets everybody in, and all topics but u/… and g/… are open there. For general MQTT test suites."`
	ServerReference string `yaml:"server_reference" default:"" doc:"Other servers, as host or host:port with spaces between, that MQTT 5 clients are told to use while this one shuts down."`

	Log       Log       `yaml:"log"`
	Limits    Limits    `yaml:"limits"`
	Auth      Auth      `yaml:"auth"`
	KeepAlive KeepAlive `yaml:"keepalive"`
	WS        WS        `yaml:"ws"`
	Store     Store     `yaml:"store"`
	Open      Open      `yaml:"open"`
}

// Log is what is logged, to standard error.
type Log struct {
	Level  string `yaml:"level" default:"info" oneof:"debug info warn error" doc:"Least level that is logged."`
	Format string `yaml:"format" default:"text" oneof:"text json" doc:"Form of a line."`
}

// Limits bounds what clients may use. What is over a limit is refused with a
// reason, never lost.
type Limits struct {
	Body   Size `yaml:"body" default:"256KiB" min:"1KiB" max:"64MiB" doc:"Largest payload of a publish."`
	Packet Size `yaml:"packet" default:"0" auto:"twice limits.body and 64KiB" max:"255MiB" doc:"Largest packet. At least twice the body, so that a body that is too large is answered and not cut off."`

	Connections               int `yaml:"connections" default:"1000000" min:"1" doc:"Network connections in all."`
	Unauthenticated           int `yaml:"unauthenticated" default:"4096" min:"1" doc:"Connections that have not logged in yet."`
	UnauthenticatedPerAddress int `yaml:"unauthenticated_per_address" default:"256" min:"1" doc:"The same, of one network address."`

	Inflight      int  `yaml:"inflight" default:"1024" min:"1" max:"65535" doc:"Publishes of one connection without an acknowledgement yet (Receive Maximum)."`
	Subscriptions int  `yaml:"subscriptions" default:"256" min:"1" doc:"Topic filters of one session."`
	OutputBuffer  Size `yaml:"output_buffer" default:"256KiB" min:"4KiB" max:"64MiB" doc:"Bytes that may wait for one connection to read."`

	MessagesPerSecond     int      `yaml:"messages_per_second" default:"0" min:"0" doc:"Publishes of one device. 0: no limit."`
	BytesPerSecond        Size     `yaml:"bytes_per_second" default:"0" doc:"Payload that one device publishes. 0: no limit."`
	UserMessagesPerSecond int      `yaml:"user_messages_per_second" default:"0" min:"0" doc:"Publishes of all devices of a user. 0: no limit."`
	UserBytesPerSecond    Size     `yaml:"user_bytes_per_second" default:"0" doc:"Payload that all devices of a user publish. 0: no limit."`
	Burst                 Duration `yaml:"burst" default:"10s" min:"100ms" max:"1d" doc:"Time for which the four rates above may be saved up."`
	LoginsPerSecond       int      `yaml:"logins_per_second" default:"0" min:"0" doc:"Logins to this server; who is over it is told to come later. 0: no limit."`

	DevicesPerUser int `yaml:"devices_per_user" default:"256" min:"1" max:"65536" doc:"Devices with an inbox of one user."`
}

// Auth is how logins are checked.
type Auth struct {
	Remember int    `yaml:"remember" default:"16384" min:"0" doc:"Users whose right password is recognised in memory instead of being computed at each login. 0: none."`
	Argon2   Argon2 `yaml:"argon2"`
}

// Argon2 is the cost of a password's hash. It holds for passwords set from then on.
type Argon2 struct {
	Memory      Size `yaml:"memory" default:"19MiB" min:"8KiB" max:"1GiB" doc:"Memory of one computation."`
	Time        int  `yaml:"time" default:"2" min:"1" max:"64" doc:"Passes over the memory."`
	Threads     int  `yaml:"threads" default:"1" min:"1" max:"255" doc:"Threads of one computation."`
	Concurrency int  `yaml:"concurrency" default:"0" min:"0" auto:"half of the CPUs" doc:"Computations at once."`
	Queue       int  `yaml:"queue" default:"128" min:"1" doc:"Logins that may wait for a computation; further ones are told to come later."`
}

// KeepAlive bounds the keep alive that clients ask for.
type KeepAlive struct {
	Min Duration `yaml:"min" default:"30s" min:"1s" max:"65535s" doc:"Shortest keep alive. MQTT 5 clients are told."`
	Max Duration `yaml:"max" default:"20m" min:"1s" max:"65535s" doc:"Longest keep alive, also for MQTT 5 clients that ask for none."`
}

// WS is MQTT over WebSocket.
type WS struct {
	Path    string   `yaml:"path" default:"/mqtt" doc:"Path of the WebSocket on the HTTP address."`
	Origins []string `yaml:"origins" default:"" doc:"Host patterns of web pages that may connect, beside the server's own host. * allows all."`
}

// Store is the embedded store.
type Store struct {
	Cache   Size `yaml:"cache" default:"16MiB" min:"1MiB" doc:"Memory for what was read from disk."`
	Reserve Size `yaml:"reserve" default:"0" auto:"64MiB, or an eighth of a small disk" doc:"Free disk space below which new messages are refused."`
}

// Open is what bounds open topics.
type Open struct {
	Queue         int    `yaml:"queue" default:"10000" min:"1" doc:"Messages that wait for one session on open topics."`
	QueuePolicy   string `yaml:"queue_policy" default:"drop_oldest" oneof:"drop_oldest refuse" doc:"What happens to a message for a session whose queue is full: drop_oldest drops and counts what waits longest, refuse refuses the publish."`
	Retained      int    `yaml:"retained" default:"100000" min:"1" doc:"Retained messages in all."`
	RetainedBytes Size   `yaml:"retained_bytes" default:"64MiB" min:"1KiB" doc:"Bytes of all retained messages together."`
}

// Default returns the settings without any file, variable or flag.
func Default() Config {
	var c Config
	for _, f := range fields {
		if err := setText(f.of(&c), f.def); err != nil {
			panic("config: default of " + f.key + ": " + err.Error()) // checked by the tests
		}
	}
	c.resolve()
	return c
}

// resolve replaces zero values that stand for something else.
func (c *Config) resolve() {
	if c.Node == "" {
		c.Node = hostNode()
	}
	if c.Limits.Packet == 0 {
		c.Limits.Packet = 2*c.Limits.Body + 64*KiB
	}
}
