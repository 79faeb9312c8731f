package fence

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// A Table is what lets ports' traffic through: the nftables table "berth" of family bridge. Its sets name the ports
// of each class; a frame from or to a port in none is dropped, also one from or to the host itself. Strict mode may close
// a whole class. It is safe for concurrent use.
type Table struct {
	mu sync.Mutex // of all that follows
	connection
	members map[string]string // port → class, as the kernel has it, or is to have it
	astray  bool              // the kernel may have other members
	strict  slotState
}

// Open makes the table in a network namespace, or takes over the one that is there. What it sends comes from ours.
func Open(home *os.File, ours *Senders) (*Table, error) {
	t := &Table{connection: connection{home: home, ours: ours}, members: map[string]string{}}
	if err := t.adopt(); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close lets go of the kernel; the table stays.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
}

// EnsureTable puts the table back where someone has flushed or changed it. Ports stay in their classes, and the rules
// of strict mode in force; slots that are gone stay gone, so that nothing passes until Arm and Open.
func (t *Table) EnsureTable() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.restore(); err != nil {
		return fmt.Errorf("fence: nftables table bridge berth: %w", err)
	}
	return nil
}

// settle puts the table back where the kernel may have other members than are known here, since a change of them has
// failed. It comes before any other change, so that strict mode opens nothing while a port that is to be cut may pass.
func (t *Table) settle() error {
	if !t.astray {
		return nil
	}
	return t.restore()
}

// change commits what f asks for. Where the table is not as it was left it is put back, and f tried once more.
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

// adopt makes the table, and takes for true what the kernel has: who is in which class, and whether strict mode is on.
func (t *Table) adopt() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.adoptStrict()
	if err != nil {
		return fmt.Errorf("nftables table bridge berth: %w", err)
	}
	t.members, err = t.readMembers()
	return err
}

// adoptStrict takes for true what the kernel has, and makes what is missing of it. A class's slot in use is the one that
// is open for longer. Where the kernel has a part of the rules of strict mode, it is strict: what is in doubt is closed.
func (t *Table) adoptStrict() error {
	t.strict = slotState{on: true}
	n, err := t.gates()
	if err != nil {
		return err
	}
	t.strict.on = n > 0
	if err := t.commit(t.rebuild); err != nil || !t.strict.on {
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

func (t *Table) rebuild(c *nftables.Conn) error { return rebuild(c, t.strict.on) }

func (t *Table) restore() error {
	if err := t.commit(t.rebuild); err != nil {
		return err
	}
	return t.restoreMembers()
}

func (t *Table) restoreMembers() error {
	held, err := t.readMembers()
	if err == nil && !maps.Equal(held, t.members) {
		err = t.commit(func(c *nftables.Conn) error { return rewriteMembers(c, t.members) })
	}
	if err == nil {
		t.astray = false
	}
	return err
}
