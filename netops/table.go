package netops

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// The traffic classes, by the names of their sets. A port in neither is cut.
var classes = [...]string{"stateless", "stateful"}

// A table is what lets ports' traffic through: the nftables table "berth" of family bridge. Its sets name the ports
// of each class; a frame from or to a port in none is dropped, also one from or to the host itself. The fence may close
// a whole class.
type table struct {
	home *os.File
	ours *senders

	mu      sync.Mutex
	conn    *nftables.Conn
	members map[string]string // port → class, as the kernel has it, or is to have it
	astray  bool              // the kernel may have other members
	fence   fence
}

var (
	filterTable = &nftables.Table{Name: "berth", Family: nftables.TableFamilyBridge}
	classSets   = map[string]*nftables.Set{}
)

// maxMembers bounds a class. With a bound the kernel makes a set of a fixed size; one that grows is listed with gaps
// while it does.
const maxMembers = 1 << 15

func init() {
	for i, class := range classes {
		// The library numbers sets by a counter that is not safe for concurrent use.
		classSets[class] = &nftables.Set{
			Table: filterTable, Name: class, KeyType: nftables.TypeIFName, ID: uint32(i + 1), Size: maxMembers,
		}
	}
}

func openTable(home *os.File, ours *senders) (*table, error) {
	t := &table{home: home, ours: ours, members: map[string]string{}}
	if err := t.adopt(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// EnsureTable puts the table back where someone has flushed or changed it. Ports stay in their classes, and the rules
// of strict mode in force; slots that are gone stay gone, so that nothing passes until Arm and Open.
func (k *Kernel) EnsureTable() error {
	k.bridges.changed(0)
	if err := k.table.ensure(); err != nil {
		return fmt.Errorf("netops: %w", err)
	}
	return nil
}

// Join puts a port into a class, "stateless" or "stateful", and out of the other: its traffic passes.
func (k *Kernel) Join(port string, class string) error {
	if classSets[class] == nil {
		return fmt.Errorf("netops: join %s: class %q: want one of %q", port, class, classes)
	}
	if err := k.table.join(port, class); err != nil {
		return fmt.Errorf("netops: join %s to class %s: %w", port, class, err)
	}
	return nil
}

// Leave takes a port out of its class: nothing passes from or to it any more. Absence is success.
func (k *Kernel) Leave(port string) error {
	k.heralds.silence(port)
	if err := k.table.leave(port); err != nil {
		return fmt.Errorf("netops: leave %s: %w", port, err)
	}
	return nil
}

// Classes tells the class of each port that has one, as the kernel has it.
func (k *Kernel) Classes() (map[string]string, error) {
	t := k.table
	t.mu.Lock()
	defer t.mu.Unlock()
	var members map[string]string
	err := t.settle()
	if err == nil {
		members, err = t.read()
	}
	if err != nil {
		return nil, fmt.Errorf("netops: read the classes: %w", err)
	}
	return members, nil
}

func (t *table) join(port, class string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.members[port]
	if was == class {
		return t.settle()
	}
	t.members[port] = class
	err := t.changeMembers(func(c *nftables.Conn) error {
		if was != "" {
			if err := c.SetDeleteElements(classSets[was], element(port)); err != nil {
				return err
			}
		}
		return c.SetAddElements(classSets[class], element(port))
	})
	if err != nil {
		delete(t.members, port) // it is not to pass by a change that is said to have failed
	}
	return err
}

func (t *table) leave(port string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.members[port]
	if was == "" {
		return t.settle()
	}
	delete(t.members, port)
	return t.changeMembers(func(c *nftables.Conn) error { return c.SetDeleteElements(classSets[was], element(port)) })
}

// changeMembers makes the kernel's members those that are known here: by f, or where that fails by putting all back.
func (t *table) changeMembers(f func(*nftables.Conn) error) error {
	if !t.astray && t.commit(f) == nil {
		return nil
	}
	t.astray = true
	return t.settle()
}

// settle puts the table back where the kernel may have other members than are known here, since a change of them has
// failed. It comes before any other change, so that strict mode opens nothing while a port that is to be cut may pass.
func (t *table) settle() error {
	if !t.astray {
		return nil
	}
	return t.restore()
}

// change commits what f asks for. Where the table is not as it was left it is put back, and f tried once more.
func (t *table) change(f func(*nftables.Conn) error) error {
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

// commit carries out what f asks for, in one transaction, over a connection that is kept as long as it works.
func (t *table) commit(f func(*nftables.Conn) error) (err error) {
	if t.conn == nil {
		known := withSender(nftables.WithSockOptions, t.ours)
		if t.conn, err = nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(int(t.home.Fd())), known); err != nil {
			return fmt.Errorf("open nftables: %w", err)
		}
	}
	if err = f(t.conn); err == nil {
		err = t.conn.Flush()
	}
	if err != nil {
		_ = t.conn.CloseLasting()
		t.conn = nil
	}
	return err
}

// adopt makes the table, and takes for true what the kernel has: who is in which class, and whether there is a fence.
func (t *table) adopt() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.adoptFence()
	if err != nil {
		return fmt.Errorf("nftables table bridge berth: %w", err)
	}
	t.members, err = t.read()
	return err
}

// ensure makes the table as it is known here.
func (t *table) ensure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.restore(); err != nil {
		return fmt.Errorf("nftables table bridge berth: %w", err)
	}
	return nil
}

func (t *table) restore() error {
	if err := t.commit(t.rebuild); err != nil {
		return err
	}
	return t.restoreMembers()
}

func (t *table) restoreMembers() error {
	held, err := t.read()
	if err == nil && !maps.Equal(held, t.members) {
		err = t.commit(t.rewriteMembers)
	}
	if err == nil {
		t.astray = false
	}
	return err
}

func (t *table) rewriteMembers(c *nftables.Conn) error {
	for _, class := range classes {
		c.FlushSet(classSets[class])
		for chunk := range slices.Chunk(t.elements(class), elementsPerMessage) {
			if err := c.SetAddElements(classSets[class], chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

// elementsPerMessage keeps a message's list of elements below the 64 KiB that an attribute can hold.
const elementsPerMessage = 1000

func (t *table) elements(class string) (all []nftables.SetElement) {
	for port, of := range t.members {
		if of == class {
			all = append(all, element(port)...)
		}
	}
	return all
}

// read lists the members that the kernel has.
func (t *table) read() (map[string]string, error) {
	members := map[string]string{}
	err := t.commit(func(c *nftables.Conn) error {
		for _, class := range classes {
			elements, err := c.GetSetElements(classSets[class])
			if err != nil {
				return fmt.Errorf("set %s: %w", class, err)
			}
			for _, e := range elements {
				members[string(bytes.TrimRight(e.Key, "\x00"))] = class
			}
		}
		return nil
	})
	return members, err
}

func (t *table) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		_ = t.conn.CloseLasting()
		t.conn = nil
	}
}

func element(port string) []nftables.SetElement {
	return []nftables.SetElement{{Key: padded(port)}}
}

func padded(port string) []byte {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, port)
	return name
}
