package attach

import (
	"context"
	"errors"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// young is how long GC spares an attachment whose namespace exists: the runtime may have made its list before.
const young = allocator.Instant(time.Minute)

// Gc is CNI GC (CNI specification 1.1.0, "GC"): it ends this network's attachments on this node that are not among the valid
// ones. It never ends a reservation, only its attachment.
func (d *Detacher) Gc(ctx context.Context, r *wire.Request) error {
	if err := allocator.ValidName("network", r.Network); err != nil {
		return wire.Errorf(wire.CodeConfig, "%w", err)
	}
	valid := map[wire.Attachment]bool{}
	for _, v := range r.Valid {
		valid[v] = true
	}
	taken := allocator.Instant(r.Started)
	if taken == 0 {
		taken = d.Clock.Boot()
	}
	var failed []error
	for _, e := range d.Journal.Entries() {
		at := e.Attachment
		if at.Network != r.Network || valid[wire.Attachment{Container: at.Container, Interface: at.Interface}] {
			continue
		}
		gone := func(e *journal.Entry) bool { return taken-e.Answered >= young || !d.exists(e) }
		if !gone(e) {
			continue
		}
		if err := d.Collect(ctx, at, Evidence{Name: "gc", Taken: taken, Gone: gone}); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// exists reports whether the entry's container exists by the kernel; without evidence it does.
func (d *Detacher) exists(e *journal.Entry) bool {
	if e.Wiring.Port != "" {
		return d.Kernel().HasPort(e.Wiring.Port)
	}
	return !d.namespaceGone(e)
}

// namespaceGone reports whether the kernel does not know the entry's namespace any more, or has given its id to another. The
// kernel reuses ids that it has chosen itself; for these the address decides, once the plugin above must have set it.
func (d *Detacher) namespaceGone(e *journal.Entry) bool {
	if e.NamespaceID == 0 {
		return false
	}
	id := e.NamespaceID - 1
	alive, err := d.Kernel().NamespaceAlive(id)
	if alive && !netops.LastingID(id) && d.Clock.Boot()-e.Answered > young {
		alive, err = d.Kernel().NamespaceHas(id, e.Addresses[0])
	}
	return err == nil && !alive
}
