package fence

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// Join puts a port into a class, and out of the other, and lets it send what the member may: its traffic passes.
func (t *Table) Join(m Member) error {
	err := m.validate()
	if err == nil {
		err = t.join(m)
	}
	if err != nil {
		return fmt.Errorf("fence: join %s to class %s: %w", m.Port, m.Class, err)
	}
	return nil
}

// Restrict changes what a port may send. One that is in no class stays cut, and one that is in a class stays in it.
func (t *Table) Restrict(m Member) error {
	err := m.validate()
	if err == nil {
		err = t.restrict(m)
	}
	if err != nil {
		return fmt.Errorf("fence: restrict %s: %w", m.Port, err)
	}
	return nil
}

// Leave takes a port out of its class: nothing passes from or to it any more. Absence is success.
func (t *Table) Leave(port string) error {
	if err := t.leave(port); err != nil {
		return fmt.Errorf("fence: leave %s: %w", port, err)
	}
	return nil
}

// Classes returns the class of each port that has one, as the kernel has it.
func (t *Table) Classes() (map[string]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var members map[string]string
	err := t.settle()
	if err == nil {
		members, err = t.readClasses()
	}
	if err != nil {
		return nil, fmt.Errorf("fence: read the classes: %w", err)
	}
	return members, nil
}

func (t *Table) join(m Member) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.become(m)
	if err != nil {
		delete(t.members, m.Port) // it must not pass after a change that is reported as failed
	}
	return err
}

func (t *Table) restrict(m Member) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, passes := t.members[m.Port]
	if !passes {
		return t.settle()
	}
	m.Class = was.Class
	return t.become(m)
}

// become changes the elements by which a member differs from what it was.
func (t *Table) become(m Member) error {
	m.MAC, m.Addresses = slices.Clone(m.MAC), slices.Clone(m.Addresses)
	var had []element
	if was, passes := t.members[m.Port]; passes {
		had = was.elements()
	}
	has := m.elements()
	t.members[m.Port] = m
	more, less := without(has, had), without(had, has)
	if len(more)+len(less) == 0 {
		return t.settle()
	}
	return t.changeMembers(func(c *nftables.Conn) error { return errors.Join(remove(c, less), add(c, more)) })
}

func (t *Table) leave(port string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, passes := t.members[port]
	if !passes {
		return t.settle()
	}
	delete(t.members, port)
	return t.changeMembers(func(c *nftables.Conn) error { return remove(c, was.elements()) })
}

// changeMembers makes the kernel's members those that are known here: by f, or where that fails by putting all back.
func (t *Table) changeMembers(f func(*nftables.Conn) error) error {
	if !t.diverged && t.commit(f) == nil {
		return nil
	}
	t.diverged = true
	return t.settle()
}
