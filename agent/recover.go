package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
	"go.uber.org/zap"
)

// recover brings journal and kernel into agreement before anything is handed out or released: what was never answered
// is undone, what is gone is given back, and what only the kernel remembers is taken in.
func (a *Agent) recover() error {
	ports, err := a.kernel.Ports()
	if err != nil {
		return fmt.Errorf("agent: read this node's ports: %w", err)
	}
	byName := map[string]netops.PortInfo{}
	for _, p := range ports {
		byName[p.Name] = p
	}
	started := wire.Boottime()
	for _, e := range a.journal.Entries() {
		port := e.Wiring.Port
		_, there := byName[port]
		delete(byName, port)
		switch {
		case e.Answered == 0:
			err = a.unwire(e, journal.Release{Attachment: e.Attachment, At: started})
		case port != "" && !there, a.namespaceGone(e):
			err = a.collect(context.Background(), e.Attachment, "agent start", started)
		}
		if err != nil {
			return fmt.Errorf("agent: recover %s: %w", e.Attachment, err)
		}
	}
	for _, p := range byName {
		if err := a.recoverPort(p, started); err != nil {
			return err
		}
	}
	if err := a.forgetPorts(); err != nil {
		return err
	}
	return a.takeNotes()
}

// forgetPorts takes the ports that are gone out of their classes. It excludes commits, so that no port joins meanwhile.
func (a *Agent) forgetPorts() error {
	a.gate.Lock()
	defer a.gate.Unlock()
	classes, err := a.kernel.Classes()
	if err != nil {
		return fmt.Errorf("agent: read the ports' classes: %w", err)
	}
	for port := range classes {
		if a.kernel.HasPort(port) {
			continue
		}
		if err := a.kernel.Leave(port); err != nil {
			return fmt.Errorf("agent: forget port %s: %w", port, err)
		}
	}
	return nil
}

// recoverPort decides over a port that the journal does not know. A journal that has served this boot from its
// beginning would know it, so the port is a remainder; a new one takes in what the port's alias says.
func (a *Agent) recoverPort(p netops.PortInfo, started allocator.Instant) error {
	e, ok := parseAlias(p.Alias)
	if !a.adopt || !ok {
		a.Log.Info("removing a port that nobody knows", zap.String("port", p.Name), zap.String("alias", p.Alias))
		if err := a.kernel.Detach(p.Name); err != nil {
			return fmt.Errorf("agent: remove port %s: %w", p.Name, err)
		}
		return nil
	}
	e.Role, e.Began, e.Answered, e.Since = wire.Interface, started, started, time.Now().UTC()
	e.Wiring = journal.Wiring{Port: p.Name, Bridge: p.Bridge, MAC: netops.MACFor(e.Addresses).String()}
	a.Log.Warn("the journal is lost; taking in what the kernel knows", zap.Stringer("attachment", e.Attachment), zap.Stringers("addresses", e.Addresses))
	if err := a.journal.Hold(e); err != nil {
		return fmt.Errorf("agent: take in %s: %w", e.Attachment, err)
	}
	return nil
}

// noteTime bounds the wait for a request that is under way about what a note wants deleted.
const noteTime = 5 * time.Second

// unfinished is after how long a note that is not whole is one whose plugin was killed.
const unfinished = time.Minute

// takeNotes does the DELs that met no agent. The socket listens by now, so that no plugin writes one more. Etcd learns of
// them afterwards. A note that cannot be done now stays, and hides no other.
func (a *Agent) takeNotes() error {
	notes, err := wire.ReadNotes(a.spool())
	if err != nil {
		return fmt.Errorf("agent: read the spool: %w", err)
	}
	failed := []error{wire.RemoveUnfinished(a.spool(), int64(wire.Boottime()-unfinished))}
	for _, n := range notes {
		if n.Err != nil {
			a.Log.Error("a note in the spool cannot be read; it is left there for a person", zap.String("file", n.Path), zap.Error(n.Err))
			continue
		}
		if err := a.takeNote(n); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (a *Agent) takeNote(n wire.NoteFile) error {
	ctx, cancel := context.WithTimeout(context.Background(), noteTime)
	defer cancel()
	c := n.Note.Container
	at := allocator.Attachment{Network: c.Network, Container: c.ID, Interface: c.Interface}
	if _, err := a.deleteHere(ctx, at, allocator.Instant(n.Note.Started)); err != nil {
		return fmt.Errorf("agent: delete %s for note %s: %w", at, n.Path, err)
	}
	a.Log.Info("did a DEL that met no agent", zap.Stringer("attachment", at))
	if err := n.Remove(); err != nil {
		return fmt.Errorf("agent: remove note %s: %w", n.Path, err)
	}
	return nil
}
