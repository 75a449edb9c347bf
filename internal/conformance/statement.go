package conformance

import "slices"

// Party is whom a statement binds.
type Party string

// The parties of the two specifications.
const (
	Server Party = "server"
	Client Party = "client"
	Both   Party = "both"
)

// Statement is one normative statement.
type Statement struct {
	ID    string // as in the specification, without the "MQTT-" before it: 3.1.0-1
	Binds Party
	Says  string // what it asks, in our own words
}

// Version is one specification with all of its normative statements.
type Version struct {
	Name       string // MQTT 3.1.1 or MQTT 5.0
	Mark       string // what stands before the number in markers: MQTT3 or MQTT5
	Statements []Statement
	Reasons    map[string]string // by number: why no test shows the statement
}

// Versions returns both specifications. The caller must not change them.
func Versions() []Version {
	return []Version{
		{Name: "MQTT 3.1.1", Mark: "MQTT3", Statements: v311, Reasons: reasons311},
		{Name: "MQTT 5.0", Mark: "MQTT5", Statements: slices.Concat(v5Format, v5Connect, v5Publish, v5Packets, v5Behaviour), Reasons: reasons5},
	}
}
