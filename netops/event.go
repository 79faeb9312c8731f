package netops

// The kinds of an Event.
const (
	PortGone       EventKind = iota + 1 // a port's link has ended without Detach
	NamespaceGone                       // a namespace has ended that had an id, by WatchNamespace or from the kernel
	Overrun                             // the kernel dropped events: read everything again
	TableChanged                        // another process may have changed or flushed the table: see EnsureTable
	AddressChanged                      // this host has got or lost an address: see HostAddresses
	Cloned                              // this machine was resumed from a snapshot, or is a copy of one
	HostChanged                         // a bridge, its uplink, a port, a route, masquerading or forwarding may have changed: see HostFaults
)

// An EventKind is one of the constants above.
type EventKind int

// An Event is a change that the kernel has reported.
type Event struct {
	Kind        EventKind
	Port        string // PortGone
	NamespaceID int    // NamespaceGone: as WatchNamespace gave it
}
