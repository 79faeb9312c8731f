package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/record"
)

func (c *ctl) nodes() kind[node] {
	return kind[node]{
		name: "nodes", what: "the machines that run the agent", key: "NAME",
		example: "  berthctl get nodes\n  berthctl get nodes n1 -o json",
		list:    nodes,
		keyOf:   func(n node) string { return n.Name },
		header:  []string{"NAME", "ADDRESS", "LIVE", "CONTAINERS", "APPLIED", "LAGGING", "VERSION", "STARTED"},
		row: func(n node) []string {
			return []string{
				n.Name, n.Address, yesNo(n.Live), strconv.Itoa(n.Containers), strconv.FormatInt(n.Applied, 10),
				strconv.Itoa(n.LaggingCount), n.Version, age(c.now(), n.Started),
			}
		},
	}
}

func (c *ctl) blocks() kind[record.Block] {
	return kind[record.Block]{
		name: "blocks", what: "the parts of the pools that have an owner", key: "CIDR",
		example: "  berthctl get blocks\n  berthctl get blocks 10.42.16.0/26 -o json",
		list: func(ctx context.Context, store *lease.Operator) ([]record.Block, error) {
			return store.Blocks.List(ctx)
		},
		keyOf:  func(b record.Block) string { return b.Prefix.String() },
		header: []string{"BLOCK", "POOL", "OWNER"},
		row:    func(b record.Block) []string { return []string{b.Prefix.String(), b.Pool, owners(b)} },
	}
}

// owners names the owner of a block, or where it has several those of its parts.
func owners(b record.Block) string {
	var words []string
	for _, part := range b.Parts {
		word := part.Owner
		if part.Owner == record.OwnerMachine {
			word = fmt.Sprintf("%s(%s)", part.Owner, part.Node)
		}
		if part.Prefix != b.Prefix {
			word = fmt.Sprintf("%s:%s", part.Prefix, part.Owner)
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

func (c *ctl) assignments() kind[record.Assignment] {
	return kind[record.Assignment]{
		named: true, name: "assignments", what: "the addresses of stateless containers", key: "ADDRESS",
		example: "  berthctl get assignments\n  berthctl get assignments 10.42.16.9 -o json",
		list: func(ctx context.Context, store *lease.Operator) ([]record.Assignment, error) {
			return store.Blocks.Assignments(ctx)
		},
		keyOf:  func(a record.Assignment) string { return a.Address.String() },
		header: []string{"ADDRESS", "POOL", "APP", "NAMESPACE/NAME", "CONTAINER", "NETWORK", "INTERFACE", "NODE", "AGE"},
		row: func(a record.Assignment) []string {
			return []string{
				a.Address.String(), a.Pool, a.App.String(), a.Workload.String(), a.Attachment.Container, a.Attachment.Network, a.Attachment.Interface,
				a.Node, age(c.now(), a.Since),
			}
		},
	}
}

func (c *ctl) reservations() kind[record.Reservation] {
	return kind[record.Reservation]{
		named: true, name: "reservations", what: "the addresses of the members of stateful apps", key: "ADDRESS",
		example: "  berthctl get reservations\n  berthctl get reservations 10.42.0.17 -o json",
		list: func(ctx context.Context, store *lease.Operator) ([]record.Reservation, error) {
			return store.Reservations.List(ctx)
		},
		keyOf:  func(r record.Reservation) string { return r.Address.String() },
		header: []string{"ADDRESS", "POOL", "MEMBER", "NETWORK", "INTERFACE", "CONTAINER", "NODE", "AGE"},
		row: func(r record.Reservation) []string {
			holder := record.Holder{}
			if r.Holder != nil {
				holder = *r.Holder
			}
			return []string{
				r.Address.String(), r.Pool, r.Identity.String(), r.Identity.Network, r.Identity.Interface, holder.Attachment.Container,
				holder.Node, age(c.now(), r.Since),
			}
		},
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
