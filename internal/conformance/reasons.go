package conformance

// Reasons that several statements share.
const (
	onlyClient = "Binds the client, and a server cannot see whether it is kept."
	supported  = "Asks something of servers with less than this one has: all QoS, retained messages and wildcards are there."
	noBridge   = "The server is no client: it makes no MQTT connections of its own."
)

// reasons311 says why no test shows a statement of MQTT 3.1.1.
var reasons311 = map[string]string{
	"2.3.1-3":  onlyClient,
	"3.1.2-23": onlyClient,
	"3.8.3-2":  supported,
	"4.5.0-2":  onlyClient,
	"7.0.0-1":  noBridge,
	"7.1.2-1":  noBridge,
}

// reasons5 says why no test shows a statement of MQTT 5.0.
var reasons5 = map[string]string{
	"3.1.2-20": onlyClient,
	"3.2.2-4":  onlyClient,
	"3.2.2-5":  onlyClient,
	"3.2.2-9":  supported,
	"3.2.2-10": supported,
	"3.2.2-11": supported,
	"3.2.2-12": supported,
	"3.2.2-13": supported,
	"3.2.2-14": supported,
	"3.3.2-10": onlyClient,
	"3.3.4-8":  onlyClient,
	"4.5.0-2":  onlyClient,
}
