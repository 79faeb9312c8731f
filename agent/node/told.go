package node

import (
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// ToldBlocks calls the hooks of those who follow blocks.
func (n *Node) ToldBlocks(u kv.Update[record.Block]) { tell(n.hooks.Blocks, u) }

// ToldReservations calls the hooks of those who follow reservations.
func (n *Node) ToldReservations(u kv.Update[record.Reservation]) { tell(n.hooks.Reservations, u) }

// ToldNodes calls the hooks of those who follow the records of nodes.
func (n *Node) ToldNodes(u kv.Update[record.Node]) { tell(n.hooks.Nodes, u) }

func tell[T any](hooks []func(kv.Update[T]), u kv.Update[T]) {
	for _, hook := range hooks {
		hook(u)
	}
}
