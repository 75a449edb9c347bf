// Package pahogo is a module of its own that pins the Eclipse Paho client for Go, whose own tests run against the server
// without becoming a dependency of it.
package pahogo

import _ "github.com/eclipse/paho.mqtt.golang"
