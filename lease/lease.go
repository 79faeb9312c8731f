// Package lease is what the cluster has agreed on: who owns which block, whose a reservation is and who holds it, the
// configuration, and who is alive. All of it is in etcd. Its subjects are packages of their own:
//
//	kv           the way to etcd: retry, incarnation of the store, keys, codecs, fenced transactions, watch
//	record       what the keys hold, and what makes a record valid
//	session      who is alive: join, proofs, rights, node records, tombstones; the handshake with etcd
//	block        who owns which block: claim, release, transfer, take over, assert
//	reservation  whose an address is and who holds it: reserve, detach, end, assert
//	config       the configuration: read, follow, apply, roll back, drain, history, gateways
//	rollout      how far the configuration has come: publish, the version of a set
//	admin        all that there is at once, its repair, node reports, the removal of nodes
//
// Every transaction that gives a node something compares the node's generation and session, and every transaction is safe to
// repeat. The outcome of one whose answer was lost is resolved by another that changes what the first one compares: a read
// cannot, since the first one may still be carried out after it.
package lease

import (
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// A Node is what an agent has of the cluster's state. It is safe for concurrent use. Of the configuration it changes nothing but
// the former gateways, and it repairs and removes nothing of others.
type Node struct {
	KV           *kv.Client
	Sessions     *session.Store
	Blocks       *block.Store
	Reservations *reservation.Store
	Config       *config.Store
	Former       *config.FormerGateways
	Rollout      *rollout.Store
}

// An Operator is what a tool has of the cluster's state. It is safe for concurrent use. It is no node: it has no session, and so
// there is nothing that it could own.
type Operator struct {
	KV           *kv.Client
	Nodes        *session.Directory
	Blocks       *block.Store
	Reservations *reservation.Store
	Config       *config.Store
	Editor       *config.Editor
	Rollout      *rollout.Store
	Admin        *admin.Store
	Reports      *admin.NodeReports
}

// OpenNode does not wait for etcd: every call finds out for itself whether etcd answers.
func OpenNode(o kv.Options) (*Node, error) {
	c, err := kv.Open(o)
	if err != nil {
		return nil, err
	}
	reservations, settings := reservation.New(c), config.New(c)
	return &Node{
		KV: c, Sessions: session.New(c), Blocks: block.New(c, reservations.LearnBlocks), Reservations: reservations,
		Config: settings, Former: config.NewFormerGateways(settings), Rollout: rollout.New(c, settings),
	}, nil
}

// OpenOperator does not wait for etcd, as OpenNode does not.
func OpenOperator(o kv.Options) (*Operator, error) {
	c, err := kv.Open(o)
	if err != nil {
		return nil, err
	}
	nodes, settings, reservations := session.NewDirectory(c), config.New(c), reservation.New(c)
	return &Operator{
		KV: c, Nodes: nodes, Blocks: block.New(c, reservations.LearnBlocks), Reservations: reservations, Config: settings,
		Editor: config.NewEditor(settings), Rollout: rollout.New(c, settings), Admin: admin.New(c, nodes, settings),
		Reports: admin.NewNodeReports(c),
	}, nil
}
