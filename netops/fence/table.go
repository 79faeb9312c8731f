package fence

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// A Table is the nftables table "berth", which decides which ports' traffic passes: of family bridge for ports of bridges, and of
// family inet for ports that the host routes to. Its sets name the ports of each class; a frame from or to a port in none is
// dropped, also one from or to the host itself. Strict mode may close a whole class. It is safe for concurrent use.
type Table struct {
	mu sync.Mutex // of all that follows
	connection
	members  map[string]Member // by port, as the kernel has them, or is to have them
	diverged bool              // the kernel may have other members than members
	leads    bool              // the kernel can tell whether it would lead to a source over its link
	strict   slotState
	apart    *intervals // of Separate
	guard    *Tunnel    // nil: not told yet
}

// Open makes the table in a network namespace, or adopts the existing one. Its own changes are those of the sockets in ours.
func Open(home *os.File, ours *Senders) (*Table, error) {
	t := &Table{connection: connection{home: home, ours: ours}, members: map[string]Member{}}
	if err := t.adopt(); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close closes the connection; the table stays.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
}

// EnsureTable restores the table where another process has flushed or changed it. Ports stay in their classes, and the rules of
// strict mode in force; lost slots stay lost, so that nothing passes until Arm and Open.
func (t *Table) EnsureTable() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.restore(); err != nil {
		return fmt.Errorf("fence: nftables tables berth: %w", err)
	}
	return nil
}

// settle restores the table after a change of members has failed, because the kernel may have other members than are known here.
// It comes before any other change, so that strict mode opens nothing while a port that is to be cut may pass.
func (t *Table) settle() error {
	if !t.diverged {
		return nil
	}
	return t.restore()
}

// change commits what f requests. Where the table differs from what is known, it is restored, and f is tried again.
func (t *Table) change(f func(*nftables.Conn) error) error {
	err := t.settle()
	if err == nil {
		err = t.commit(f)
	}
	if errors.Is(err, unix.ENOENT) {
		if err = t.restore(); err == nil {
			err = t.commit(f)
		}
	}
	return err
}

// adopt makes the table, and reads the kernel's state: the members of each class, and whether strict mode is on. In a table of
// a release that knew nothing of what members may send, they may send what they like until they are restricted.
func (t *Table) adopt() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.leads, err = t.tryLeading(); err != nil {
		return fmt.Errorf("try a rule of nftables: %w", err)
	}
	sets, err := t.existing()
	var held map[element]bool
	if err == nil {
		held, err = t.readElements(sets)
	}
	if err != nil {
		return fmt.Errorf("read nftables tables berth: %w", err)
	}
	if former := !slices.Contains(sets, trusted); former {
		for e := range maps.Clone(held) {
			if e.set.Table == filterTable {
				held[element{trusted, e.key}] = true
			}
		}
	}
	t.members = membersOf(held)
	if err := t.adoptStrict(); err != nil {
		return fmt.Errorf("nftables tables berth: %w", err)
	}
	t.diverged = !maps.Equal(held, elementsOf(t.members))
	return t.adoptApart()
}

// adoptStrict reads the kernel's state of strict mode, and makes what is missing. A class's slot in use is the one that is open
// longer. If the kernel has a part of the rules of strict mode, strict mode is on, and what is uncertain is closed.
func (t *Table) adoptStrict() error {
	t.strict = slotState{on: true}
	n, err := t.gates()
	if err != nil {
		return err
	}
	t.strict.on = n > 0
	if err := t.commit(t.rebuildTrusting); err != nil || !t.strict.on {
		return err
	}
	open, err := t.openSlots()
	for class := range classes {
		for slot := range slots {
			if open[class][slot] > open[class][t.strict.last[class]] {
				t.strict.last[class] = slot
			}
		}
	}
	return err
}

func (t *Table) rebuild(c *nftables.Conn) error {
	err := rebuild(c, t.strict.on, t.leads)
	if err == nil && t.guard != nil && len(t.guard.Devices) > 0 {
		err = guard(c, t.guard, t.leads)
	}
	return err
}

// rebuildTrusting lets the trusted members send from the moment at which the rules are there.
func (t *Table) rebuildTrusting(c *nftables.Conn) error {
	if err := t.rebuild(c); err != nil {
		return err
	}
	for _, m := range t.members {
		if m.Trusted {
			if err := add(c, m.elements()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Table) restore() error {
	err := t.commit(func(c *nftables.Conn) error {
		if err := t.rebuild(c); err != nil || t.apart == nil {
			return err
		}
		return t.apart.set(c)
	})
	if err != nil {
		return err
	}
	return t.restoreMembers()
}

func (t *Table) restoreMembers() error {
	held, err := t.readElements(memberSets())
	if err == nil {
		err = t.rewrite(held, elementsOf(t.members))
	}
	if err == nil {
		t.diverged = false
	}
	return err
}
