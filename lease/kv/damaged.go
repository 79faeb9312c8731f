package kv

import (
	"errors"
	"fmt"
)

// A DamagedError says that a record cannot be read, or is not valid: somebody has written it by hand. The record does not count
// as absent: whose it is, is not known.
type DamagedError struct {
	Key      string // as it is written
	At       Key    // the zero one where Key cannot be read
	Revision int64  // the key's mod revision; 0: the key is missing where it has to be
	Err      error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("lease: the record at %s cannot be read: %v", e.Key, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Damage is the *DamagedError in err; nil: there is none.
func Damage(err error) *DamagedError {
	e, _ := errors.AsType[*DamagedError](err)
	return e
}
