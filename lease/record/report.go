package record

import (
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
)

// A ReportRequest is what an operator's tool asks every agent: what its journal and its kernel hold.
type ReportRequest struct {
	Who      string    `json:"who"` // as the asker says
	Asked    time.Time `json:"asked"`
	Repair   []string  `json:"mend,omitempty"`     // the nodes that are to settle anew, and repair their kernels, before they answer
	Slot     string    `json:"slot,omitempty"`     // in the key
	Revision int64     `json:"revision,omitempty"` // of the key: it distinguishes two requests in one slot
	Lease    int64     `json:"-"`                  // etcd's, which ends the question and its answers
}

// A NodeReport is what a node says that it holds, at one instant.
type NodeReport struct {
	Node       string    `json:"node,omitempty"` // in the key
	Slot       string    `json:"slot,omitempty"` // in the key
	Generation int64     `json:"generation"`     // of the session that it was written under; Report sets it
	Version    string    `json:"version"`        // the agent's program
	Started    time.Time `json:"started"`        // when it joined under this generation
	Applied    int64     `json:"applied"`        // the newest configuration revision that every container has

	Attachments []HeldAttachment `json:"attachments"`
	Ports       []HeldPort       `json:"ports"`
	Spaces      []HeldSpace      `json:"spaces"`
	Notes       []BadNote        `json:"notes,omitempty"`
	Unpublished int              `json:"unpublished,omitempty"` // addresses whose assignment etcd may not know yet
	// attachments that are over, and whose reservation etcd does not know to be free yet
	Undetached int  `json:"undetached,omitempty"`
	More       More `json:"more,omitzero"`
}

// More counts what a report had no room for.
type More struct {
	Attachments int `json:"attachments,omitempty"`
	Ports       int `json:"ports,omitempty"`
	Notes       int `json:"notes,omitempty"`
}

// A HeldAttachment is an attachment as the node's journal has it.
type HeldAttachment struct {
	Attachment allocator.Attachment `json:"attachment"`
	Role       string               `json:"role"`
	Class      allocator.Class      `json:"class"`
	Pool       string               `json:"pool"`
	Addresses  []netip.Addr         `json:"addresses"`
	App        allocator.App        `json:"app,omitzero"`
	Member     string               `json:"member,omitempty"`
	Epoch      int64                `json:"epoch,omitempty"`
	Since      time.Time            `json:"since"`
	Answered   bool                 `json:"answered"`           // else its ADD is under way
	Port       string               `json:"port,omitempty"`     // that it is to have; none in the IPAM role
	Isolated   string               `json:"isolated,omitempty"` // why it is
}

// Identity is what a stateful one's reservation belongs to.
func (h *HeldAttachment) Identity() allocator.Identity {
	return allocator.Identity{
		Namespace: h.App.Namespace, App: h.App.Name, Member: h.Member, Network: h.Attachment.Network, Interface: h.Attachment.Interface,
	}
}

// A HeldPort is a port, or a member of a class, as the node's kernel has it.
type HeldPort struct {
	Name  string `json:"name"`
	Class string `json:"class,omitempty"` // empty: in none, nothing passes
	Alias string `json:"alias,omitempty"` // only of a port that no attachment is to have
	Gone  bool   `json:"gone,omitempty"`  // a class names it, and there is no such link
}

// A HeldSpace is what the node's allocator owns of a pool and family.
type HeldSpace struct {
	Pool        string         `json:"pool"`
	Family      string         `json:"family"`
	Parts       []netip.Prefix `json:"parts"`
	Free        int            `json:"free"`
	Released    int            `json:"released"`
	Quarantined int            `json:"quarantined"`
	Held        int            `json:"held"`
	Excluded    int            `json:"excluded"`
}

// A BadNote is a note in the node's spool that cannot be read.
type BadNote struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// MaxAnswer bounds an answer as it is written, in bytes: etcd refuses a request of more than 1.5 MiB.
const MaxAnswer = 1 << 20

// Text is the answer as it is written: the ends of its longest lists are only counted where all would be too much. What
// is too much without them, too, is left to etcd to refuse.
func (a NodeReport) Text() string {
	for {
		text := kv.Encode(a)
		if len(text) <= MaxAnswer || len(a.Attachments)+len(a.Ports)+len(a.Notes) == 0 {
			return text
		}
		// Some room besides, since no two entries are of one length.
		keep := func(n int) int { return n * MaxAnswer / len(text) * 9 / 10 }
		a.Attachments, a.More.Attachments = cut(a.Attachments, keep(len(a.Attachments)), a.More.Attachments)
		a.Ports, a.More.Ports = cut(a.Ports, keep(len(a.Ports)), a.More.Ports)
		a.Notes, a.More.Notes = cut(a.Notes, keep(len(a.Notes)), a.More.Notes)
	}
}

func cut[T any](list []T, keep, more int) ([]T, int) {
	return list[:keep], more + len(list) - keep
}
