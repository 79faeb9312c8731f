// Package dump asks the kernel for whole lists in the tests and their lab: a list that changed while the kernel wrote it is
// asked for again.
package dump

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// Whole calls list until the kernel was not interrupted while it answered (netlink(7), NLM_F_DUMP_INTR): a list that was is
// no error of whoever asks, and may lack what was there all the time.
func Whole[T any](list func() (T, error)) (T, error) {
	for {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
}
