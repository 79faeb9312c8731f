package kernel

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// inTime is how long the kernel makes a timer: it counts milliseconds.
func inTime(d time.Duration) time.Time { return time.Now().Add(d.Truncate(time.Millisecond)) }

func checkClasses(times map[string]time.Duration, least time.Duration) error {
	for class, d := range times {
		if !slices.Contains(classes[:], class) {
			return fmt.Errorf("class %q: want one of %q", class, classes)
		}
		if d < least {
			return fmt.Errorf("class %s for %v: want at least %v", class, d, least)
		}
	}
	return nil
}

// TryFence reports why strict mode cannot hold on this kernel.
func (k *Kernel) TryFence() error {
	return k.fenced("TryFence", func(f *fence, t *table) error { return f.change(t, func() error { return nil }) })
}

// SetFence puts the rules of strict mode in force, or those of evidence mode.
func (k *Kernel) SetFence(on bool, left map[string]time.Duration) error {
	return k.fenced("SetFence", func(f *fence, t *table) error {
		if err := checkClasses(left, -1<<62); err != nil {
			return err
		}
		if on == f.on {
			return f.restore(t)
		}
		err := f.transact(func() error {
			t.build(on)
			t.timers, t.locks = table{}.timers, table{}.locks
			for class, name := range classes {
				if on && left[name] >= time.Millisecond {
					t.timers[class][0], t.locks[class][0] = inTime(left[name]), true
				}
			}
			return nil
		})
		if err != nil {
			f.on, f.last, f.armed = true, [len(classes)]int{}, nil // what there is cannot be read either
			return err
		}
		f.on, f.last, f.armed = on, [len(classes)]int{}, nil
		return f.restoreMembers(t)
	})
}

// Fenced reports whether the kernel has the rules of strict mode.
func (k *Kernel) Fenced() (is bool, err error) {
	err = k.fenced("Fenced", func(f *fence, t *table) error {
		return f.transact(func() error { is = t.exists && t.strict; return nil })
	})
	return is && err == nil, err
}

// Passing returns for how long the fence still lets each class pass if it is not armed again.
func (k *Kernel) Passing() (passing map[string]time.Duration, err error) {
	err = k.fenced("Passing", func(f *fence, t *table) error {
		passing = map[string]time.Duration{}
		if !f.on {
			return nil
		}
		return f.read(t, func() {
			for class, name := range classes {
				if left := slices.Max(t.open(class, time.Now())); left > 0 {
					passing[name] = left
				}
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return passing, nil
}

// Arm starts, for each class that whole names, the timer of the slot that is not in use, and closes its lock.
func (k *Kernel) Arm(whole map[string]time.Duration) error {
	return k.fenced("Arm", func(f *fence, t *table) error {
		if err := checkClasses(whole, time.Millisecond); err != nil {
			return err
		}
		f.armed = nil
		var armed []int
		for class, name := range classes {
			if whole[name] > 0 {
				armed = append(armed, class)
			}
		}
		if len(armed) == 0 { // an empty transaction meets no missing table
			return f.settle(t)
		}
		err := f.change(t, func() error {
			for _, class := range armed {
				t.timers[class][f.other(class)], t.locks[class][f.other(class)] = inTime(whole[classes[class]]), false
			}
			return nil
		})
		if err == nil {
			f.armed = armed
		}
		return err
	})
}

// Open lets traffic through the slots that Arm armed.
func (k *Kernel) Open() error {
	return k.fenced("Open", func(f *fence, t *table) error {
		armed := f.armed
		if len(armed) == 0 {
			return errors.New("nothing is armed: want Arm before each proof, and Open after it once")
		}
		f.armed = nil
		err := f.commit(t, func() error {
			for _, class := range armed {
				t.locks[class][f.other(class)] = true
			}
			return nil
		})
		if errors.Is(err, unix.ENOENT) {
			err = errors.Join(fmt.Errorf("the table is gone since Arm, and is put back with the fence closed: %w", err), f.restore(t))
		}
		if err != nil {
			return err
		}
		for _, class := range armed {
			f.last[class] = f.other(class)
		}
		return nil
	})
}

// CloseAll closes all slots, and forgets what is armed.
func (k *Kernel) CloseAll() error {
	return k.fenced("CloseAll", func(f *fence, t *table) error {
		f.armed = nil
		return f.change(t, func() error { t.locks = table{}.locks; return nil })
	})
}
