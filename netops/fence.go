package netops

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// slots is how many ways each class has through the fence. Two: while one is armed for the next proof, traffic passes
// through the other.
const slots = 2

// A slot is open while both sets hold its key: in timers, until the kernel itself takes it out, and in locks.
var (
	timers = &nftables.Set{
		Table: filterTable, Name: "timers", KeyType: nftables.TypeInteger, ID: 11, Size: 16, HasTimeout: true,
	}
	locks = &nftables.Set{Table: filterTable, Name: "locks", KeyType: nftables.TypeInteger, ID: 12, Size: 16}
)

// A fence is what strict mode adds to the table.
type fence struct {
	on    bool
	last  [len(classes)]int // of each class: the slot that was opened last
	armed []int             // the classes whose other slot is armed and waits for Open
}

// SetFence puts the rules of strict mode in force, or with on false those of evidence mode, in one transaction: no frame
// meets a table without rules. In strict mode a frame from or to a port passes only while its class is open.
//
// When strict begins, left tells for each class what is left of the node's right, counted from the sending of the proof
// it rests on: the class is open for that time from the same transaction on, so that nothing is lost. A class
// without an entry, or with less than a millisecond, is closed until the first Open. Where strict is in force already,
// also by an agent before this one, what is open or armed stays as it is, and left is not looked at.
func (k *Kernel) SetFence(on bool, left map[string]time.Duration) error {
	if err := checkClasses(left); err != nil {
		return fmt.Errorf("netops: set the fence: %w", err)
	}
	t := k.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.setFence(on, left); err != nil {
		return fmt.Errorf("netops: set the fence: %w", err)
	}
	return nil
}

func (t *table) setFence(on bool, left map[string]time.Duration) error {
	if on == t.fence.on {
		return t.restore()
	}
	err := t.commit(func(c *nftables.Conn) error {
		if err := rebuild(c, on); err != nil {
			return err
		}
		c.FlushSet(locks)
		c.FlushSet(timers)
		for class, name := range classes {
			if !on || left[name] < time.Millisecond {
				continue
			}
			err := errors.Join(
				c.SetAddElements(timers, timer(class, 0, left[name])), c.SetAddElements(locks, lock(class, 0)))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, t.adoptFence())
	}
	t.fence = fence{on: on}
	return t.restoreMembers()
}

// Fenced reports whether the kernel has the rules of strict mode, all of them.
func (k *Kernel) Fenced() (bool, error) {
	t := k.table
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.gates()
	if err != nil {
		return false, fmt.Errorf("netops: read the fence: %w", err)
	}
	return n == len(sides)*len(classes), nil
}

// Passing tells for how long the fence lets each class pass yet, if it is armed no more: by timers that an agent before this
// one may have started. A class that is closed has no entry, and without the rules of strict mode none has.
func (k *Kernel) Passing() (map[string]time.Duration, error) {
	t := k.table
	t.mu.Lock()
	defer t.mu.Unlock()
	passing := map[string]time.Duration{}
	if !t.fence.on {
		return passing, nil
	}
	open, err := t.openSlots()
	if err != nil {
		return nil, fmt.Errorf("netops: read the fence: %w", err)
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
func (k *Kernel) Arm(whole map[string]time.Duration) error {
	if err := checkClasses(whole); err != nil {
		return fmt.Errorf("netops: arm: %w", err)
	}
	for class, d := range whole {
		if d < time.Millisecond { // the kernel counts in milliseconds, and none would be forever
			return fmt.Errorf("netops: arm class %s for %v: want at least 1ms", class, d)
		}
	}
	t := k.table
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fence.armed = nil
	var armed []int
	for class, name := range classes {
		if whole[name] > 0 {
			armed = append(armed, class)
		}
	}
	err := t.change(func(c *nftables.Conn) error {
		for _, class := range armed {
			if err := renew(c, class, t.fence.other(class), whole[classes[class]]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("netops: arm: %w", err)
	}
	t.fence.armed = armed
	return nil
}

// Open lets traffic through the slots that Arm armed. It is called when the proof's answer says that the node has its
// right. It only adds locks, and never extends a time: where a timer has run out meanwhile, or the ruleset was flushed, the
// class stays closed until the next Arm and Open. Open without Arm is an error, and changes nothing.
func (k *Kernel) Open() error {
	t := k.table
	t.mu.Lock()
	defer t.mu.Unlock()
	armed := t.fence.armed
	if len(armed) == 0 {
		return errors.New("netops: open the fence: nothing is armed: want Arm before each proof, and Open after it once")
	}
	t.fence.armed = nil
	err := t.commit(func(c *nftables.Conn) error {
		for _, class := range armed {
			if err := c.SetAddElements(locks, lock(class, t.fence.other(class))); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		err = errors.Join(fmt.Errorf("the table is gone since Arm, and is put back with the fence closed: %w", err), t.restore())
	}
	if err != nil {
		return fmt.Errorf("netops: open the fence: %w", err)
	}
	for _, class := range armed {
		t.fence.last[class] = t.fence.other(class)
	}
	return nil
}

// CloseAll closes all slots, and forgets what is armed: an Open for a proof under way is an error then. It is for a
// machine that was suspended or cloned, since no timer ran meanwhile, and for a node that leaves.
func (k *Kernel) CloseAll() error {
	t := k.table
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fence.armed = nil
	if err := t.change(func(c *nftables.Conn) error { c.FlushSet(locks); return nil }); err != nil {
		return fmt.Errorf("netops: close the fence: %w", err)
	}
	return nil
}

// other is the slot of a class that is not in use.
func (f *fence) other(class int) int { return (f.last[class] + 1) % slots }

// renew closes a slot and starts its timer anew. An add alone changes no timer on older kernels, and a deletion alone
// fails where there is nothing to delete: so each deletion has an add before it. Nothing of it is seen before the
// transaction's end.
func renew(c *nftables.Conn, class, slot int, d time.Duration) error {
	return errors.Join(
		c.SetAddElements(locks, lock(class, slot)),
		c.SetDeleteElements(locks, lock(class, slot)),
		restart(c, timer(class, slot, d)))
}

func restart(c *nftables.Conn, timer []nftables.SetElement) error {
	return errors.Join(
		c.SetAddElements(timers, timer), c.SetDeleteElements(timers, timer), c.SetAddElements(timers, timer))
}

func slotKey(class, slot int) []byte { return []byte{0, 0, 0, byte(class*slots + slot)} }

func lock(class, slot int) []nftables.SetElement {
	return []nftables.SetElement{{Key: slotKey(class, slot)}}
}

func timer(class, slot int, d time.Duration) []nftables.SetElement {
	return []nftables.SetElement{{Key: slotKey(class, slot), Timeout: d}}
}

func checkClasses(times map[string]time.Duration) error {
	for class := range times {
		if !slices.Contains(classes[:], class) {
			return fmt.Errorf("class %q: want one of %q", class, classes)
		}
	}
	return nil
}

// adoptFence takes for true what the kernel has, and makes what is missing of it. A class's slot in use is the one that
// is open for longer. Where the kernel has a part of the rules of strict mode, it is strict: what is in doubt is closed.
func (t *table) adoptFence() error {
	t.fence = fence{on: true}
	n, err := t.gates()
	if err != nil {
		return err
	}
	t.fence.on = n > 0
	if err := t.commit(t.rebuild); err != nil || !t.fence.on {
		return err
	}
	open, err := t.openSlots()
	for class := range classes {
		for slot := range slots {
			if open[class][slot] > open[class][t.fence.last[class]] {
				t.fence.last[class] = slot
			}
		}
	}
	return err
}

// gates counts the ways from a base chain into a class's chain.
func (t *table) gates() (n int, err error) {
	err = t.commit(func(c *nftables.Conn) error {
		for _, side := range sides {
			rules, err := c.GetRules(filterTable, &nftables.Chain{Name: side.name})
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
			for _, r := range rules {
				for _, e := range r.Exprs {
					if v, ok := e.(*expr.Verdict); ok && v.Kind == expr.VerdictGoto {
						n++
					}
				}
			}
		}
		return nil
	})
	return n, err
}

// openSlots tells how long each slot is still open; 0: it is closed.
func (t *table) openSlots() (open [len(classes)][slots]time.Duration, err error) {
	err = t.commit(func(c *nftables.Conn) error {
		var held [2][]nftables.SetElement
		for i, set := range [...]*nftables.Set{locks, timers} {
			var err error
			if held[i], err = c.GetSetElements(set); err != nil {
				return fmt.Errorf("set %s: %w", set.Name, err)
			}
		}
		for class := range classes {
			for slot := range slots {
				is := func(e nftables.SetElement) bool { return slices.Equal(e.Key, slotKey(class, slot)) }
				if i := slices.IndexFunc(held[1], is); i >= 0 && slices.ContainsFunc(held[0], is) {
					open[class][slot] = held[1][i].Expires
				}
			}
		}
		return nil
	})
	return open, err
}
