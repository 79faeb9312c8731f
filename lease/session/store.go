package session

import "github.com/berth-ipam/berth/lease/kv"

// A Directory is which nodes there are, and which of them have a session, as etcd has it.
type Directory struct{ kv *kv.Client }

// NewDirectory is the directory of a client.
func NewDirectory(kv *kv.Client) *Directory { return &Directory{kv} }

// A Store is what a node needs of the directory to be in it itself: it joins, and finds out whose state etcd has.
type Store struct {
	*Directory
	deleted deletions
	onReset func(ClusterState) // called when another incarnation has begun; nil: not called
}

// New is the store of a client, by whose clock rights count.
func New(kv *kv.Client) *Store { return &Store{Directory: NewDirectory(kv)} }
