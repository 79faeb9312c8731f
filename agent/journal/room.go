package journal

import (
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
)

// A kind of record decides which room on the file it may use, so that a full disk refuses only new attachments.
type kind int

const (
	grows kind = iota // new attachments: they leave all the room that held entries need
	notes             // notes about held entries: they leave the room of all ends
	ends              // ends of held entries: they have their room
)

// headroom is the room for notes about the node itself, in bytes.
const headroom = 16 << 10

// A need is the room that a held entry keeps free on the file, in bytes.
type need struct {
	ending int64 // for its release, and the detachment's publication
	noting int64 // for notes: an epoch, an isolation and its end
}

func (n need) all() int64 { return n.ending + n.noting }

// besides is the size of an attachment's record without its names: keys, numbers, times, checksum.
const besides = 256

// needOf is an entry's need.
func needOf(e *Entry) need {
	at := attachmentBytes(e.Attachment)
	n := need{ending: at, noting: 2*at + maxReason}
	if e.Class == allocator.Stateful {
		n.ending += detachedBytes(e.Pool, e.Attachment, e.Identity(), e.Addresses)
		n.noting += at
	}
	return n
}

// needed is the room that an unpublished detachment keeps free.
func (d *Detachment) needed() int64 {
	return detachedBytes(d.Pool, d.Attachment, d.Identity, d.Addresses)
}

func attachmentBytes(at allocator.Attachment) int64 {
	return int64(besides + len(at.Network) + len(at.Container) + escaped*len(at.Interface))
}

func detachedBytes(pool string, at allocator.Attachment, id allocator.Identity, addresses []netip.Addr) int64 {
	names := len(pool) + len(id.Network) + len(id.Namespace) + len(id.App) + len(id.Member) + escaped*len(id.Interface)
	return attachmentBytes(at) + int64(names+len(addresses)*64)
}

// escaped is how many bytes one of an interface's name may take in JSON. All other names are letters, digits, and "-._".
const escaped = 6
