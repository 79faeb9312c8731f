package kernel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops"
)

// A fence is what a process knows of the table: see netops/fence.
type fence struct {
	members  map[string]netops.Member
	diverged bool
	on       bool
	last     [len(classes)]int // of each class: the slot that was opened last
	armed    []int             // the classes whose other slot waits for Open

	failed error // what the operation under way meets at its next change
	done   bool  // the change is made nevertheless
}

// adopt makes the table, or takes an existing one over.
func (f *fence) adopt(t *table) {
	f.adoptStrict(t)
	f.members = maps.Clone(t.members)
}

func (f *fence) adoptStrict(t *table) {
	f.on, f.last, f.armed = t.exists && t.strict, [len(classes)]int{}, nil
	t.build(f.on)
	now := time.Now()
	for class := range classes {
		if open := t.open(class, now); f.on && open[1] > open[0] {
			f.last[class] = 1
		}
	}
}

func (f *fence) other(class int) int { return (f.last[class] + 1) % slots }

// fenced carries out an operation of the fence.
func (k *Kernel) fenced(op string, f func(*fence, *table) error) error {
	return k.run(op, func(failed error, done bool) error {
		k.fence.failed, k.fence.done = failed, done
		former := k.host.nft
		former.members = maps.Clone(former.members)
		err := f(&k.fence, &k.host.nft)
		k.fence.failed = nil
		if !former.same(&k.host.nft) {
			k.lan.changed = true
			k.host.tell(netops.Event{Kind: netops.TableChanged}, k)
			k.host.plan()
		}
		return err
	})
}

func (t *table) same(u *table) bool {
	return t.exists == u.exists && t.strict == u.strict && t.timers == u.timers && t.locks == u.locks && alike(t.members, u.members)
}

// commit changes the table, which has to exist.
func (f *fence) commit(t *table, change func() error) error {
	if !t.exists && f.failed != nil {
		return f.failed
	}
	if !t.exists {
		return unix.ENOENT
	}
	return f.transact(change)
}

// read reads sets. Where the table is gone the real one's library tells no cause.
func (f *fence) read(t *table, g func()) error {
	err := f.commit(t, func() error { g(); return nil })
	if err != nil && f.failed == nil {
		return errors.New("the table is gone")
	}
	return err
}

// transact carries out a transaction, or meets a fault: all that come after it in the operation fail.
func (f *fence) transact(change func() error) error {
	if f.failed == nil {
		return change()
	}
	if f.done {
		f.done = false
		_ = change()
	}
	return f.failed
}

func (f *fence) restore(t *table) error {
	if err := f.transact(func() error { t.build(f.on); return nil }); err != nil {
		return err
	}
	return f.restoreMembers(t)
}

func (f *fence) restoreMembers(t *table) error {
	if f.failed != nil {
		return f.failed
	}
	t.hold(f.members)
	f.diverged = false
	return nil
}

func (f *fence) settle(t *table) error {
	if !f.diverged {
		return nil
	}
	return f.restore(t)
}

// change commits, and again where the table is gone.
func (f *fence) change(t *table, g func() error) error {
	err := f.settle(t)
	if err == nil {
		err = f.commit(t, g)
	}
	if errors.Is(err, unix.ENOENT) {
		if err = f.restore(t); err == nil {
			err = f.commit(t, g)
		}
	}
	return err
}

func (f *fence) changeMembers(t *table, g func() error) error {
	if !f.diverged && f.commit(t, g) == nil {
		return nil
	}
	f.diverged = true
	return f.settle(t)
}

// Join puts a port into a class, and out of the other, and lets it send what the member may.
func (k *Kernel) Join(m netops.Member) error {
	return k.fenced("Join", func(f *fence, t *table) error {
		err := validate(m)
		if err == nil {
			if err = f.become(t, m); err != nil {
				delete(f.members, m.Port)
			}
		}
		return err
	})
}

// Restrict changes what a port may send that is in a class.
func (k *Kernel) Restrict(m netops.Member) error {
	return k.fenced("Restrict", func(f *fence, t *table) error {
		if err := validate(m); err != nil {
			return err
		}
		was, passes := f.members[m.Port]
		if !passes {
			return f.settle(t)
		}
		m.Class = was.Class
		return f.become(t, m)
	})
}

func validate(m netops.Member) error {
	if !slices.Contains(classes[:], m.Class) || !m.Trusted && len(m.MAC) != 6 {
		return fmt.Errorf("class %q, MAC %q: want one of %q, and a MAC of Ethernet", m.Class, m.MAC, classes)
	}
	return nil
}

func (f *fence) become(t *table, m netops.Member) error {
	was, passes := f.members[m.Port]
	if f.members[m.Port] = m; passes && same(was, m) {
		return f.settle(t)
	}
	return f.changeMembers(t, func() error {
		if passes && !same(t.members[m.Port], was) {
			return unix.ENOENT
		}
		t.members[m.Port] = m
		return nil
	})
}

// same reports whether two members may do the same.
func same(a, b netops.Member) bool {
	origin := a.Trusted || slices.Equal(a.MAC, b.MAC) && slices.Equal(a.Addresses, b.Addresses)
	return a.Class == b.Class && a.Trusted == b.Trusted && a.Isolated == b.Isolated && origin
}

func alike(a, b map[string]netops.Member) bool { return maps.EqualFunc(a, b, same) }

// Leave takes a port out of its class. Absence is success.
func (k *Kernel) Leave(port string) error {
	return k.fenced("Leave", func(f *fence, t *table) error { return f.leave(t, port) })
}

func (f *fence) leave(t *table, port string) error {
	was, passes := f.members[port]
	if !passes {
		return f.settle(t)
	}
	delete(f.members, port)
	return f.changeMembers(t, func() error {
		if !same(t.members[port], was) {
			return unix.ENOENT
		}
		delete(t.members, port)
		return nil
	})
}

// Classes returns the class of each port that has one.
func (k *Kernel) Classes() (members map[string]string, err error) {
	err = k.fenced("Classes", func(f *fence, t *table) error {
		if err := f.settle(t); err != nil {
			return err
		}
		return f.read(t, func() {
			members = map[string]string{}
			for port, m := range t.members {
				members[port] = m.Class
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return members, nil
}

// EnsureTable restores the table where another process has flushed or changed it.
func (k *Kernel) EnsureTable() error {
	return k.fenced("EnsureTable", func(f *fence, t *table) error { return f.restore(t) })
}

// Separate says with which addresses isolated ports exchange nothing.
func (k *Kernel) Separate(from []netops.Range) error {
	return k.fenced("Separate", func(f *fence, t *table) error {
		return f.change(t, func() error { t.apart = slices.Clone(from); return nil })
	})
}
