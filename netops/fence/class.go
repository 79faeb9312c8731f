package fence

import (
	"fmt"

	"github.com/google/nftables"
)

// Join puts a port into a class, "stateless" or "stateful", and out of the other: its traffic passes.
func (t *Table) Join(port string, class string) error {
	if classSets[class] == nil {
		return fmt.Errorf("fence: join %s: class %q: want one of %q", port, class, classes)
	}
	if err := t.join(port, class); err != nil {
		return fmt.Errorf("fence: join %s to class %s: %w", port, class, err)
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
		members, _, err = t.readMembers()
	}
	if err != nil {
		return nil, fmt.Errorf("fence: read the classes: %w", err)
	}
	return members, nil
}

func (t *Table) join(port, class string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.members[port]
	if was == class {
		return t.settle()
	}
	t.members[port] = class
	err := t.changeMembers(func(c *nftables.Conn) error {
		if was != "" {
			if err := remove(c, classSets[was], element(port)); err != nil {
				return err
			}
		}
		return add(c, classSets[class], element(port))
	})
	if err != nil {
		delete(t.members, port) // it must not pass after a change that is reported as failed
	}
	return err
}

func (t *Table) leave(port string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.members[port]
	if was == "" {
		return t.settle()
	}
	delete(t.members, port)
	return t.changeMembers(func(c *nftables.Conn) error { return remove(c, classSets[was], element(port)) })
}

// changeMembers makes the kernel's members those that are known here: by f, or where that fails by putting all back.
func (t *Table) changeMembers(f func(*nftables.Conn) error) error {
	if !t.diverged && t.commit(f) == nil {
		return nil
	}
	t.diverged = true
	return t.settle()
}
