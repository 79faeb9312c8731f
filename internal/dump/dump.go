// Package dump reads whole lists from the kernel in tests and their lab: a list that changed while the kernel wrote it is read
// again.
package dump

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// Whole calls list until the kernel was not interrupted while it answered (netlink(7), NLM_F_DUMP_INTR). An interrupted list may
// lack what existed all the time.
func Whole[T any](list func() (T, error)) (T, error) {
	for {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
}
