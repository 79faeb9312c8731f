package netops

// What an Event tells.
const (
	PortGone       EventKind = iota + 1 // a port's link has ended, and nobody called Detach
	NamespaceGone                       // a namespace has ended that had an id, by WatchNamespace or from the kernel
	Overrun                             // the kernel dropped news: read again all that events would have told
	TableChanged                        // another process has changed or flushed the table, or may have: see EnsureTable
	AddressChanged                      // this host has got or lost an address: see HostAddresses
	Cloned                              // this machine goes on from a snapshot, or is a copy of one
	HostChanged                         // a bridge, its uplink, a port, masquerading or forwarding may not be as they were: see HostFaults
)

// An EventKind is one of the constants above.
type EventKind int

// An Event is what the kernel told.
type Event struct {
	Kind        EventKind
	Port        string // PortGone
	NamespaceID int    // NamespaceGone: as WatchNamespace gave it
}
