package rtnl

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// A Step is one thing that is done to the host, and what undoes it.
type Step struct{ Do, Undo Request }

// CarryOut does the steps in order, or none of them. All are undone, whether they were done or not: with an address the
// kernel adds routes by itself, and it does not take all of them away again.
func CarryOut(s *Socket, steps []Step) error {
	for _, step := range steps {
		err := s.Ensure(step.Do)
		if err == nil {
			continue
		}
		for _, step := range slices.Backward(steps) {
			if step.Undo.NetlinkRequest == nil {
				continue
			}
			err = errors.Join(err, s.Ensure(step.Undo))
		}
		return err
	}
	return nil
}

// Ensure carries a request out, unless what it adds is there already, or what it takes away is not.
func (s *Socket) Ensure(r Request) error {
	if err := s.Do(r); err != nil && !already(r, err) {
		return err
	}
	return nil
}

// already reports that what was to be added is there, or that what was to be taken away is not.
func already(r Request, err error) bool {
	switch r.Type {
	case unix.RTM_NEWADDR, unix.RTM_NEWROUTE, unix.RTM_NEWRULE:
		return errors.Is(err, unix.EEXIST)
	case unix.RTM_DELADDR:
		return errors.Is(err, unix.EADDRNOTAVAIL)
	case unix.RTM_DELROUTE:
		return errors.Is(err, unix.ESRCH)
	case unix.RTM_DELRULE, unix.RTM_DELNEIGH:
		return errors.Is(err, unix.ENOENT)
	}
	return false
}
