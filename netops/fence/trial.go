package fence

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
)

// trial is a class without ports: its timer opens nothing.
const trial = len(classes)

// TryFence reports, in words, why strict mode cannot hold on this kernel; nil: it can. It starts a timer, renews it
// with a longer time as Arm does, and reads back what the kernel made of it. No traffic is touched.
func (t *Table) TryFence() error {
	if err := t.try(); err != nil {
		return fmt.Errorf("fence: strict mode cannot hold on this kernel: %w", err)
	}
	return nil
}

func (t *Table) try() (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const before, after = time.Minute, time.Hour
	for _, d := range [...]time.Duration{before, after} {
		if err := t.change(func(c *nftables.Conn) error { return restart(c, timer(trial, 0, d)) }); err != nil {
			return fmt.Errorf("start a timer of an nftables set in family bridge: %w", err)
		}
	}
	var held []nftables.SetElement
	err = t.commit(func(c *nftables.Conn) (err error) { held, err = c.GetSetElements(timers); return err })
	if err != nil {
		return fmt.Errorf("read a timer of an nftables set back: %w", err)
	}
	err = errors.New("a timer that was started is not there")
	if i := slices.IndexFunc(held, func(e nftables.SetElement) bool {
		return slices.Equal(e.Key, slotKey(trial, 0))
	}); i >= 0 {
		err = renewed(held[i], before, after)
	}
	return errors.Join(err, t.change(func(c *nftables.Conn) error {
		return errors.Join(
			addBoth(c, timers, timer(trial, 0, after)), removeBoth(c, timers, timer(trial, 0, after)))
	}))
}

// renewed judges a timer that was started with one time, and anew with a longer one.
func renewed(e nftables.SetElement, before, after time.Duration) error {
	if e.Timeout != after || e.Expires <= before || e.Expires > after {
		return fmt.Errorf(
			"a timer of %v that was renewed with %v has a timeout of %v and expires in %v: want a kernel that renews it",
			before, after, e.Timeout, e.Expires)
	}
	return nil
}
