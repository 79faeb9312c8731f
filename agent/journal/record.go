package journal

import (
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// A Header says whose journal this is. ID is random; the node's key in etcd repeats it.
type Header struct {
	Node string `json:"node"`
	Boot string `json:"boot"`
	ID   string `json:"id"`
}

// A Cluster is the one that the entries belong to.
type Cluster struct {
	ID         string `json:"id"`             // etcd's own id
	Life       int64  `json:"life,omitempty"` // the store's incarnation
	Generation int64  `json:"generation"`     // the node's, when it joined last

	Slept time.Duration `json:"slept,omitempty"` // how long the machine had slept in all, when the node joined last
}

// An Entry is one attachment: all that is needed to answer for it again, to check it and to undo it.
type Entry struct {
	Attachment allocator.Attachment `json:"attachment"`
	Role       string               `json:"role"`
	Class      allocator.Class      `json:"class"`
	App        allocator.App        `json:"of,omitzero"`
	Member     string               `json:"member,omitempty"`
	Workload   allocator.Workload   `json:"workload,omitzero"` // what the orchestrator made it for
	Pool       string               `json:"pool"`
	Addresses  []netip.Addr         `json:"addresses"`
	Epoch      int64                `json:"epoch,omitempty"` // the reservation's, stateful
	Generation int64                `json:"generation"`      // the node's, when this was chosen
	Revision   int64                `json:"revision"`        // the configuration that it was wired by
	Since      time.Time            `json:"since"`           // wall clock, for people

	Netns       string `json:"netns,omitempty"`       // the path that the caller named
	Inode       uint64 `json:"inode,omitempty"`       // of the namespace
	NamespaceID int    `json:"namespaceID,omitempty"` // the kernel's, plus one; 0: none
	Wiring      Wiring `json:"wiring,omitzero"`       // role interface
	Given       *Given `json:"given,omitempty"`       // nil: written by an older release, or restored from the kernel

	Began    allocator.Instant `json:"began"`              // when the plugin of the last ADD began: each ADD makes a new attachment
	Answered allocator.Instant `json:"answered,omitempty"` // when that ADD was answered; 0: never

	Isolated *Isolation `json:"isolated,omitempty"` // nil: it may pass
}

// IsolatedWhy is why an entry is isolated; empty: it is not.
func (e *Entry) IsolatedWhy() string {
	if e.Isolated == nil {
		return ""
	}
	return e.Isolated.Reason
}

// AddressList are an entry's addresses, for people.
func (e *Entry) AddressList() string {
	var all []string
	for _, a := range e.Addresses {
		all = append(all, a.String())
	}
	return strings.Join(all, ", ")
}

// An Isolation says why a container is isolated.
type Isolation struct {
	Reason string `json:"reason"`
	// Epoch is the one by which another got the reservation: an ADD with a later one ends the isolation. It is Never where the
	// address was lost in another way.
	Epoch int64 `json:"epoch"`
}

// Never is the epoch of an isolation that only a release or a record in etcd ends.
const Never = math.MaxInt64

// maxReason bounds the reason that is written, in bytes.
const maxReason = 300

func (i Isolation) bounded() *Isolation {
	if len(i.Reason) > maxReason {
		i.Reason = strings.ToValidUTF8(i.Reason[:maxReason-3], "") + "..."
	}
	return &i
}

// Wiring is how the kernel was configured for an interface that Berth made.
type Wiring struct {
	Port     string            `json:"port,omitempty"`
	Bridge   string            `json:"bridge,omitempty"`
	Routed   bool              `json:"routed,omitempty"` // the port is on no bridge: the host routes to it
	Uplink   string            `json:"uplink,omitempty"`
	IPMasq   bool              `json:"ipMasq,omitempty"`
	MAC      string            `json:"mac,omitempty"`
	MTU      int               `json:"mtu,omitempty"`
	Gateways []netip.Addr      `json:"gateways,omitempty"`
	Routes   []allocator.Route `json:"routes,omitempty"`
	Prefixes []netip.Prefix    `json:"prefixes,omitempty"` // the addresses as the interface has them; none: routed, or of an older release
	Trusted  bool              `json:"trusted,omitempty"`  // it may send from other MACs and addresses than its own
	Apart    bool              `json:"apart,omitempty"`    // it exchanges nothing with other containers of isolated pools
	Given    []allocator.Route `json:"given,omitempty"`    // the routes of ADD's answer, if a roll-out has changed them since
	// restored after the journal was lost: the network's configuration of the bridge is unknown
	Unsure bool `json:"unsure,omitempty"`
	// restored after the journal was lost: whether the network masquerades is unknown
	MasqUnknown bool `json:"masqUnknown,omitempty"`
}

// Given is what an ADD returned of its pool that no roll-out can change.
type Given struct {
	Unknown  bool              `json:"unknown,omitempty"` // what it was is not known any more
	DNS      allocator.DNS     `json:"dns,omitzero"`
	MTU      int               `json:"mtu,omitempty"` // role ipam, and so are the others
	Prefixes []netip.Prefix    `json:"prefixes,omitempty"`
	Gateways []netip.Addr      `json:"gateways,omitempty"`
	Routes   []allocator.Route `json:"routes,omitempty"`
}

// Identity is the owner of a stateful entry's reservation.
func (e *Entry) Identity() allocator.Identity {
	return allocator.Identity{
		Namespace: e.App.Namespace, App: e.App.Name, Member: e.Member,
		Network: e.Attachment.Network, Interface: e.Attachment.Interface,
	}
}

// A Release is the end of an attachment.
type Release struct {
	Attachment allocator.Attachment `json:"attachment"`
	Began      allocator.Instant    `json:"began"` // when the plugin of the DEL began: an older ADD is refused
	At         allocator.Instant    `json:"at"`
	Quarantine time.Duration        `json:"quarantine,omitempty"` // how long after At the address is not allocated
	GiveUp     bool                 `json:"giveUp,omitempty"`     // the reservation of a stateful member ends, too
}

// A Freed is an address that an app released: the app gets it back within the pool's reuse window.
type Freed struct {
	Pool       string            `json:"pool"`
	Address    netip.Addr        `json:"address"`
	App        allocator.App     `json:"of,omitzero"`
	At         allocator.Instant `json:"at"`
	Quarantine time.Duration     `json:"quarantine,omitempty"`
}

// A Part of a pool that is another node's or nobody's: what was freed of it is not this node's any more.
type Part struct {
	Pool   string       `json:"pool"`
	Prefix netip.Prefix `json:"prefix"`
}

// A Detachment is a reservation that this node has detached and that etcd still attaches to it.
type Detachment struct {
	Attachment allocator.Attachment `json:"attachment"`
	Identity   allocator.Identity   `json:"identity"`
	Pool       string               `json:"pool"`
	Addresses  []netip.Addr         `json:"addresses"`
	Epoch      int64                `json:"epoch"`
	Unanswered bool                 `json:"unanswered,omitempty"` // of an ADD without an answer: a reservation that it made ends
	GiveUp     bool                 `json:"giveUp,omitempty"`     // the reservation ends in any case
}

// A Quarantined is what of a block another journal of this boot may have allocated from: it is not used before the next boot.
type Quarantined struct {
	Pool  string         `json:"pool"`
	Block netip.Prefix   `json:"block"`
	Parts []netip.Prefix `json:"parts"`
}

// An Epoch is the one by which etcd attaches a reservation to an attachment.
type Epoch struct {
	Attachment allocator.Attachment `json:"attachment"`
	Epoch      int64                `json:"epoch"`
}

// An Isolate is the isolation of an attachment; nil ends it.
type Isolate struct {
	Attachment allocator.Attachment `json:"attachment"`
	Isolation  *Isolation           `json:"isolation,omitempty"`
}

// A record is one line of the file: exactly one field is set.
type record struct {
	Header      *Header           `json:"header,omitempty"`
	Cluster     *Cluster          `json:"cluster,omitempty"`   // joined
	Forgotten   allocator.Instant `json:"forgotten,omitempty"` // only in a rewritten file: releases of what began earlier are not in it
	LostJournal bool              `json:"forgot,omitempty"`    // another journal served this boot; its blocks are not in quarantine yet
	Quarantined *[]Quarantined    `json:"shunned,omitempty"`   // all blocks in quarantine; it ends LostJournal
	Hold        *Entry            `json:"hold,omitempty"`      // chosen (or changed), not necessarily answered
	Release     *Release          `json:"release,omitempty"`   // gone
	Epoch       *Epoch            `json:"epoch,omitempty"`     // of what is held
	Isolate     *Isolate          `json:"isolate,omitempty"`   // what is held, or not any more
	Freed       *Freed            `json:"freed,omitempty"`     // only in a rewritten file: what releases left behind
	Lost        []Part            `json:"lost,omitempty"`      // else a restart would take what was freed of them for this node's
	Detach      *Detachment       `json:"detach,omitempty"`    // only in a rewritten file: what releases left to do
	Detached    *Detachment       `json:"detached,omitempty"`  // etcd knows
}
