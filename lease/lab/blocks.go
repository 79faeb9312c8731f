package lab

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// Demand lets a node demand one address of the pool default.
func (l *Lab) Demand(x *Joined) record.Demand {
	l.Helper()
	d, err := block.Demand(l.Context(), x.Session, record.Demand{Pool: "default", V4: 1})
	l.Check(err)
	return d
}

// Parts are parts of a block by prefix and owner in turns; an owner with a ! has taken the part over.
func Parts(text ...string) (all []record.Part) {
	for i := 0; i < len(text); i += 2 {
		owner, taken := text[i+1], false
		if owner[0] == '!' {
			owner, taken = owner[1:], true
		}
		all = append(all, record.Part{Prefix: Prefix(text[i]), Owner: owner, Taken: taken})
	}
	return all
}

// Assignments are n of them of node n1, of the addresses that follow each other.
func Assignments(from netip.Addr, n int) (all []record.Assignment) {
	for i := range n {
		all = append(all, record.Assignment{Pool: "default", Address: from, Attachment: Attachment(fmt.Sprint("c", i)), Node: "n1",
			Since: time.Now().UTC()})
		from = from.Next()
	}
	return all
}

// MachineOf is the node whose own an address is by etcd; empty: none's.
func (l *Lab) MachineOf(s *Store, a string) string {
	l.Helper()
	blocks, err := s.Blocks.List(l.Context())
	l.Check(err)
	for _, b := range blocks {
		if p, _ := b.PartOf(Addr(a)); p.Owner == record.OwnerMachine {
			return p.Node
		}
	}
	return ""
}

// OwnAddress claims an address as a node's own.
func (l *Lab) OwnAddress(x *Joined, c *config.Config, a string, own bool) (record.Block, error) {
	l.Helper()
	return block.ClaimMachine(l.Context(), x.Session, c.Pools["default"], c.PoolRevisions["default"], Addr(a), own)
}

// OwnedBy reports whether all that is owned of a block is an owner's.
func OwnedBy(b record.Block, owner string) bool {
	return len(b.Parts) > 0 && len(b.Of(owner)) == len(b.Parts)
}
