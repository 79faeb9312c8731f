// Package lease is what the cluster has agreed on: who owns which block, whose a reservation is and who holds it, the
// configuration, and who is alive. All of it is in etcd. Its subjects are packages of their own:
//
//	kv           the way to etcd: retry, incarnation of the store, keys, codecs, fenced transactions, watch
//	record       what the keys hold, and what a record has to be so that it can be built upon
//	session      who is alive: join, proofs, rights, node records, tombstones; the handshake with etcd
//	block        who owns which block: claim, release, transfer, take over, assert
//	reservation  whose an address is and who holds it: reserve, detach, end, assert
//	config       the configuration: read, follow, apply, roll back, drain, history, gateways
//	rollout      how far the configuration has come: publish, the version of a set
//	admin        all that there is at once, its repair, node reports, the removal of nodes
//
// Every transaction that gives something to a node compares the node's generation and session, and every transaction
// is safe to repeat. One whose answer was lost is settled by another that changes what it compares: no read can tell
// that it will not be carried out yet.
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

// A Store is the cluster's state, by its subjects. It is safe for concurrent use.
type Store struct {
	KV           *kv.Client
	Sessions     *session.Store
	Blocks       *block.Store
	Reservations *reservation.Store
	Config       *config.Store
	Editor       *config.Editor
	Rollout      *rollout.Store
	Admin        *admin.Store
	Reports      *admin.NodeReports
}

// Open does not wait for etcd: every call finds out for itself whether etcd answers.
func Open(o kv.Options) (*Store, error) {
	client, err := kv.Open(o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		KV: client, Sessions: session.New(client, o.Now), Reservations: reservation.New(client), Config: config.New(client),
		Reports: admin.NewNodeReports(client),
	}
	s.Blocks = block.New(client, s.Reservations.LearnBlocks)
	s.Editor, s.Rollout = config.NewEditor(s.Config), rollout.New(client, s.Config)
	s.Admin = admin.New(client, s.Sessions, s.Config)
	return s, nil
}
