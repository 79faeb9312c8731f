package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// Recover brings journal and kernel into agreement at start: unanswered ADDs are undone, containers that are gone are released,
// and entries that only the kernel has are restored.
func (d *Detacher) Recover() error {
	ports, err := d.Kernel().Ports()
	if err != nil {
		return fmt.Errorf("agent: read this node's ports: %w", err)
	}
	byName := map[string]netops.PortInfo{}
	for _, p := range ports {
		byName[p.Name] = p
	}
	classes, err := d.Kernel().Classes()
	if err != nil {
		return fmt.Errorf("agent: read the ports' classes: %w", err)
	}
	started := d.Clock.Boot()
	for _, e := range d.Journal.Entries() {
		_, there := byName[e.Wiring.Port]
		delete(byName, e.Wiring.Port)
		if err := d.recoverEntry(e, there, started); err != nil {
			d.Log.Error("cannot recover an attachment; it is tried again within a minute",
				zap.Stringer("attachment", e.Attachment), zap.Error(err))
		}
	}
	for _, cut := range []bool{false, true} { // ports that pass first: of two claims to an address, the one that is not isolated counts
		for _, p := range byName {
			if _, passes := classes[p.Name]; passes == cut {
				continue
			}
			d.recoverPort(p, cut)
		}
	}
	if err := d.forgetPorts(); err != nil {
		d.Log.Error("cannot take ports that are gone out of their classes; it is tried again within a minute", zap.Error(err))
	}
	if err := d.processNotes(); err != nil {
		d.Log.Error("cannot do all DELs that reached no agent; it is tried again within a minute", zap.Error(err))
	}
	return nil
}

// recoverEntry undoes an unanswered ADD, releases a container that is gone, cuts an isolated one, and has the others send only what
// they may.
func (d *Detacher) recoverEntry(e *journal.Entry, there bool, started allocator.Instant) error {
	switch {
	case e.Answered == 0:
		return d.unwire(e, journal.Release{Attachment: e.Attachment, At: started})
	case e.Wiring.Port != "" && !there, d.namespaceGone(e):
		gone := func(e *journal.Entry) bool { return !d.exists(e) || d.namespaceGone(e) }
		return d.Collect(context.Background(), e.Attachment, Evidence{Name: "agent start", Taken: started, Gone: gone})
	case e.Isolated != nil:
		d.Isolator.Cut(e)
	case e.Wiring.Port != "":
		return d.Kernel().Restrict(plan.Member(e)) // an agent before this one may have let it send what it likes
	}
	return nil
}

// forgetPorts removes ports that are gone from their classes. It excludes commits, so that no port joins meanwhile.
func (d *Detacher) forgetPorts() (err error) {
	d.Gate.Exclusive(func() { err = d.forgetPortsAlone() })
	return err
}

func (d *Detacher) forgetPortsAlone() error {
	classes, err := d.Kernel().Classes()
	if err != nil {
		return fmt.Errorf("agent: read the ports' classes: %w", err)
	}
	ports, err := d.Kernel().Ports()
	if err != nil {
		return fmt.Errorf("agent: read this node's ports: %w", err)
	}
	for _, p := range ports {
		delete(classes, p.Name)
	}
	for port := range classes {
		if d.Kernel().HasPort(port) {
			continue
		}
		if err := d.Kernel().Leave(port); err != nil {
			return fmt.Errorf("agent: forget port %s: %w", port, err)
		}
	}
	return nil
}

// recoverPort decides about a port that the journal lacks. A journal that has served this boot from its beginning would have it,
// so the port is a leftover and is removed. A new journal restores the entry from the port's alias; a port that was cut may have
// been isolated, and stays cut until etcd records it. A port with an unreadable alias is set aside.
func (d *Detacher) recoverPort(p netops.PortInfo, cut bool) {
	e, err := plan.ParseAlias(p)
	switch {
	case err != nil:
		d.Isolator.SetAside(p, err.Error())
	case d.adopt && plan.PortName(e.Attachment) != p.Name:
		d.Isolator.SetAside(p, fmt.Sprintf("its alias names %s, whose port would be %s", e.Attachment, plan.PortName(e.Attachment)))
	case d.adopt:
		if cut {
			e.Isolated = &journal.Isolation{Reason: "it was found cut after the journal was lost, and etcd does not name it yet",
				Epoch: journal.Never}
		}
		d.Member.Settler.RestoreEntry(p, e)
	default:
		d.Log.Info("removing an orphaned port", zap.String("port", p.Name), zap.String("alias", p.Alias))
		if err := d.Kernel().Detach(p.Name); err != nil {
			d.Isolator.SetAside(p, fmt.Sprintf("nobody here has it, and it cannot be removed: %v", err))
		}
	}
}

// noteTime bounds the wait for a request under way for the attachment that a note deletes.
const noteTime = 5 * time.Second

// unfinished is the age at which an incomplete note is known to be of a plugin that was killed.
const unfinished = time.Minute

// processNotes does the DELs that reached no agent. The socket listens already, so that no plugin writes another note. Etcd is
// updated in the background. A note that fails stays, and delays no other.
func (d *Detacher) processNotes() error {
	notes, err := wire.ReadNotes(d.Disk, d.Spool())
	if err != nil {
		return fmt.Errorf("agent: read the spool: %w", err)
	}
	failed := []error{wire.RemoveUnfinished(d.Disk, d.Spool(), int64(d.Clock.Boot()-unfinished))}
	for _, n := range notes {
		if n.Err != nil {
			d.Log.Error("a note in the spool cannot be read; it is left there for a person", zap.String("file", n.Path), zap.Error(n.Err))
			continue
		}
		if err := d.processNote(n); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (d *Detacher) processNote(n wire.NoteFile) error {
	ctx, cancel := context.WithTimeout(context.Background(), noteTime)
	defer cancel()
	c := n.Note.Container
	at := allocator.Attachment{Network: c.Network, Container: c.ID, Interface: c.Interface}
	if _, err := d.deleteHere(ctx, at, allocator.Instant(n.Note.Started), false); err != nil {
		return fmt.Errorf("agent: delete %s for note %s: %w", at, n.Path, err)
	}
	d.Log.Info("did a DEL that reached no agent", zap.Stringer("attachment", at))
	if err := d.Disk.Remove(n.Path); err != nil {
		return fmt.Errorf("agent: remove note %s: %w", n.Path, err)
	}
	return nil
}
