package broker

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
	"tidings/hooks"
)

// Reason codes that are in use all over the package.
const (
	codeOK               = 0x00
	codeDisconnectWill   = 0x04
	codeNoSubscription   = 0x11
	malformed            = 0x81
	protocolError        = 0x82
	codeImplementation   = 0x83
	codeUnsupported      = 0x84
	codeClientIdentifier = 0x85
	codeKeepAlive        = 0x8d
	codeTopicName        = 0x90
	codeUnknownPacketID  = 0x92
	codeReceiveMaximum   = 0x93
	codeTopicAlias       = 0x94
	codePacketTooLarge   = 0x95
)

// publishCode is the reason code of PUBACK and PUBREC for a refusal. Only codes
// that are legal there occur (MQTT 5, 3.4.2.1).
func publishCode(word string) byte {
	switch word {
	case delivery.CodeNotAllowed:
		return packets.ErrNotAuthorized.Code
	case delivery.CodeUnknownTopic:
		return packets.ErrTopicNameInvalid.Code
	case delivery.CodeMalformed:
		return packets.ErrPayloadFormatInvalid.Code
	case delivery.CodeTooLarge, delivery.CodeQuota, delivery.CodeStorageFull:
		return packets.ErrQuotaExceeded.Code
	case delivery.CodeConflict, delivery.CodeInternal:
		return packets.ErrImplementationSpecificError.Code
	default:
		return packets.ErrUnspecifiedError.Code
	}
}

// subscribeCode is the reason code of SUBACK for a refusal; MQTT 3.1.1 knows 0x80
// only. The words beside the engine's own are those of package topics.
func subscribeCode(word string) byte {
	switch word {
	case delivery.CodeNotAllowed:
		return packets.ErrNotAuthorized.Code
	case "shared_subscription":
		return packets.ErrSharedSubscriptionsNotSupported.Code
	case "malformed_filter", "too_many_levels", delivery.CodeUnknownTopic:
		return packets.ErrTopicFilterInvalid.Code
	case delivery.CodeQuota, delivery.CodeStorageFull:
		return packets.ErrQuotaExceeded.Code
	default:
		return packets.ErrUnspecifiedError.Code
	}
}

// loginCode is the reason code of CONNACK for an error of Login or Open.
func loginCode(err error) byte {
	switch {
	case errors.Is(err, hooks.ErrBadCredentials), errors.Is(err, hooks.ErrNotMine):
		return packets.ErrBadUsernameOrPassword.Code
	case errors.Is(err, hooks.ErrBusy):
		return packets.ErrConnectionRateExceeded.Code
	case errors.Is(err, hooks.ErrUnknownMethod):
		return packets.ErrBadAuthenticationMethod.Code
	}
	if r, ok := errors.AsType[*delivery.Refusal](err); ok {
		return refusedLoginCode(r.Code)
	}
	if r, ok := errors.AsType[*hooks.Refusal](err); ok {
		return refusedLoginCode(r.Code)
	}
	return packets.ErrServerUnavailable.Code
}

func refusedLoginCode(word string) byte {
	switch word {
	case delivery.CodeNotAllowed:
		return packets.ErrNotAuthorized.Code
	case delivery.CodeQuota, delivery.CodeStorageFull:
		return packets.ErrQuotaExceeded.Code
	default:
		return packets.ErrServerUnavailable.Code
	}
}

// v3ConnectCode is the return code of an MQTT 3.1.1 CONNACK for a reason code of
// MQTT 5. Zero: 3.1.1 has none, and the connection is closed without a CONNACK
// [MQTT-3.2.2-6].
func v3ConnectCode(code byte) byte {
	switch code {
	case packets.ErrUnsupportedProtocolVersion.Code:
		return 1
	case packets.ErrClientIdentifierNotValid.Code:
		return 2
	case packets.ErrServerUnavailable.Code, packets.ErrServerBusy.Code, packets.ErrConnectionRateExceeded.Code,
		packets.ErrQuotaExceeded.Code, packets.ErrUseAnotherServer.Code, packets.ErrServerShuttingDown.Code:
		return 3
	case packets.ErrBadUsernameOrPassword.Code:
		return 4
	case packets.ErrNotAuthorized.Code, packets.ErrTopicNameInvalid.Code, packets.ErrBadAuthenticationMethod.Code:
		return 5
	default:
		return 0
	}
}

// endings of a connection by decision of the engine.
func engineEnding(r delivery.Reason) ending {
	switch r {
	case delivery.ReasonTakenOver:
		return ending{word: "taken_over", code: packets.ErrSessionTakenOver.Code}
	case delivery.ReasonNotAuthorized:
		return ending{word: "not_authorized", code: packets.ErrNotAuthorized.Code}
	case delivery.ReasonShutdown:
		return ending{word: "shutdown", code: packets.ErrServerShuttingDown.Code}
	case delivery.ReasonUnavailable:
		return ending{word: "unavailable", code: packets.ErrServerBusy.Code}
	case delivery.ReasonAdmin:
		return ending{word: "admin", code: packets.ErrAdministrativeAction.Code}
	default:
		return ending{word: "unknown_outcome", code: packets.ErrUnspecifiedError.Code}
	}
}

// ending is why a connection ends.
type ending struct {
	word    string // stable, for plugins, metrics and logs
	code    byte   // of the DISCONNECT that MQTT 5 clients get; zero: none is sent
	orderly bool   // the client sent DISCONNECT
	abrupt  bool   // nothing can be told: the network connection is gone or must not be answered
}
