package wire

import (
	"errors"
	"fmt"
)

// Error codes: those of the CNI specification 1.1.0, section "Error", and one of Berth's own, above 99 as it asks.
const (
	CodeVersion     = 1   // incompatible CNI version
	CodeUnsupported = 2   // unsupported field
	CodeUnknown     = 3   // container unknown
	CodeEnvironment = 4   // invalid environment variable
	CodeIO          = 5   // I/O failure
	CodeDecode      = 6   // content could not be decoded
	CodeConfig      = 7   // invalid network configuration
	CodeNetns       = 8   // invalid network namespace (libcni's)
	CodeTryAgain    = 11  // a transient condition: try again later
	CodeUnavailable = 50  // STATUS: no ADD can be served
	CodeDegraded    = 51  // STATUS: nor are existing containers well
	CodeOperation   = 100 // an operation that is unknown or switched off, or a set that is none
	CodeInternal    = 999 // a fault of Berth
)

// An Error is one that crosses the socket and becomes a CNI error. Its cause stays on this side: errors.Is and
// errors.As find it, and the socket carries only the words.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details string `json:"details,omitempty"`

	cause error
}

func (e *Error) Error() string {
	if e.Details == "" {
		return e.Message
	}
	return e.Message + ": " + e.Details
}

// Unwrap is the error's cause; nil for one that came over the socket.
func (e *Error) Unwrap() error { return e.cause }

// Errorf makes an Error of a code and a text, as fmt.Errorf does: %w keeps a cause.
func Errorf(code int, format string, args ...any) *Error {
	made := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: made.Error(), cause: made}
}

// AsError finds the Error in err's chain; anything else becomes an Error of CodeInternal.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: err.Error(), cause: err}
}
