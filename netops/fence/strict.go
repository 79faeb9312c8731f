package fence

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// SetFence puts the rules of strict mode in force, or with on false those of evidence mode, in one transaction: no frame
// meets a table without rules. In strict mode a frame from or to a port passes only while its class is open.
//
// When strict begins, left tells for each class what is left of the node's right, counted from the sending of the proof
// it rests on: the class is open for that time from the same transaction on, so that nothing is lost. A class
// without an entry, or with less than a millisecond, is closed until the first Open. Where strict is in force already,
// also by an agent before this one, what is open or armed stays as it is, and left is not looked at.
func (t *Table) SetFence(on bool, left map[string]time.Duration) error {
	if err := checkClasses(left); err != nil {
		return fmt.Errorf("fence: set: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.setFence(on, left); err != nil {
		return fmt.Errorf("fence: set: %w", err)
	}
	return nil
}

func (t *Table) setFence(on bool, left map[string]time.Duration) error {
	if on == t.strict.on {
		return t.restore()
	}
	err := t.commit(func(c *nftables.Conn) error {
		if err := rebuild(c, on, t.leads); err != nil {
			return err
		}
		clearBoth(c, locks)
		clearBoth(c, timers)
		for class, name := range classes {
			if !on || left[name] < time.Millisecond {
				continue
			}
			err := errors.Join(
				addBoth(c, timers, timer(class, 0, left[name])), addBoth(c, locks, lock(class, 0)))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, t.adoptStrict())
	}
	t.strict = slotState{on: on}
	return t.restoreMembers()
}

// Fenced reports whether the kernel has the rules of strict mode, all of them.
func (t *Table) Fenced() (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.gates()
	if err != nil {
		return false, fmt.Errorf("fence: read: %w", err)
	}
	return n == len(tables)*len(sides)*len(classes), nil
}

// Passing returns for how long the fence still lets each class pass if it is not armed again, also by timers of an agent before
// this one. A closed class has no entry, and without the rules of strict mode none has.
func (t *Table) Passing() (map[string]time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	passing := map[string]time.Duration{}
	if !t.strict.on {
		return passing, nil
	}
	open, err := t.openSlots()
	if err != nil {
		return nil, fmt.Errorf("fence: read: %w", err)
	}
	for class, name := range classes {
		if left := slices.Max(open[class][:]); left > 0 {
			passing[name] = left
		}
	}
	return passing, nil
}

// Arm prepares the next opening: for each class that whole names, one transaction closes the lock of the slot that is
// not in use and starts its timer with the whole time of the right. It must return before the proof is sent, the
// linearizable read in which the node sees its own session: then the timer runs out no later than the right that the
// proof gives, however long anything takes afterwards. What is in use stays open meanwhile.
//
// The slot in use is the one that was opened last. Arm again before Open arms the same slot anew: only the last Arm
// counts, and the caller must not open for a proof that was sent before it. A time below a millisecond is an error.
func (t *Table) Arm(whole map[string]time.Duration) error {
	if err := checkClasses(whole); err != nil {
		return fmt.Errorf("fence: arm: %w", err)
	}
	for class, d := range whole {
		if d < time.Millisecond { // the kernel counts in milliseconds, and none would be forever
			return fmt.Errorf("fence: arm class %s for %v: want at least 1ms", class, d)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strict.armed = nil
	var armed []int
	for class, name := range classes {
		if whole[name] > 0 {
			armed = append(armed, class)
		}
	}
	err := t.change(func(c *nftables.Conn) error {
		for _, class := range armed {
			if err := renew(c, class, t.strict.other(class), whole[classes[class]]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("fence: arm: %w", err)
	}
	t.strict.armed = armed
	return nil
}

// Open lets traffic through the slots that Arm armed. It is called when the proof's answer says that the node has its
// right. It only adds locks, and never extends a time: where a timer has run out meanwhile, or the ruleset was flushed, the
// class stays closed until the next Arm and Open. Open without Arm is an error, and changes nothing.
func (t *Table) Open() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	armed := t.strict.armed
	if len(armed) == 0 {
		return errors.New("fence: open: nothing is armed: want Arm before each proof, and Open after it once")
	}
	t.strict.armed = nil
	err := t.commit(func(c *nftables.Conn) error {
		for _, class := range armed {
			if err := addBoth(c, locks, lock(class, t.strict.other(class))); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		err = errors.Join(fmt.Errorf("the table is gone since Arm, and is put back with the fence closed: %w", err), t.restore())
	}
	if err != nil {
		return fmt.Errorf("fence: open: %w", err)
	}
	for _, class := range armed {
		t.strict.last[class] = t.strict.other(class)
	}
	return nil
}

// CloseAll closes all slots, and forgets what is armed: an Open for a proof under way is an error then. It is for a
// machine that was suspended or cloned, since no timer ran meanwhile, and for a node that leaves.
func (t *Table) CloseAll() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strict.armed = nil
	if err := t.change(func(c *nftables.Conn) error { clearBoth(c, locks); return nil }); err != nil {
		return fmt.Errorf("fence: close: %w", err)
	}
	return nil
}

func checkClasses(times map[string]time.Duration) error {
	for class := range times {
		if !slices.Contains(classes[:], class) {
			return fmt.Errorf("class %q: want one of %q", class, classes)
		}
	}
	return nil
}
