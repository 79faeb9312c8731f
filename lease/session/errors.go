package session

import (
	"errors"
	"fmt"
)

var (
	// ErrLost says that etcd has ended the node's session: its key or its lease is gone.
	ErrLost = errors.New("lease: the node's session has ended")
	// ErrReplaced says that another agent, or a later start of this one, has rewritten the node's key.
	ErrReplaced = errors.New("lease: the node's key was rewritten by another agent")
	// ErrClusterChanged says that the record of the cluster was rewritten since the session began.
	ErrClusterChanged = errors.New("lease: the record of the etcd cluster has changed")
	// ErrRecovering says that nothing is given to anybody, since etcd was restored and not every right has run out yet.
	ErrRecovering = errors.New("lease: etcd was restored or made anew, and nodes have time to assert what they hold: nothing new is " +
		"given until then")
)

// A ClusterError says that a node remembers another cluster than the one whose state this is.
type ClusterError struct{ Recorded, Actual string }

func (e *ClusterError) Error() string {
	return fmt.Sprintf("lease: this node's containers belong to the etcd cluster %s, and the endpoints are of cluster %s, whose "+
		"state does not come from it", e.Recorded, e.Actual)
}

// A NodeTakenError says that a node's name belongs to another machine.
type NodeTakenError struct{ Node, Machine, Address string }

func (e *NodeTakenError) Error() string {
	where := ""
	if e.Address != "" {
		where = " at " + e.Address
	}
	return fmt.Sprintf("lease: the node name %q belongs to machine %s%s: choose another name, or free this one with `berthctl node "+
		"remove %s` once that machine is gone for good",
		e.Node, e.Machine, where, e.Node)
}

// A NodeAliveError says that another boot of this machine, or a clone of it, keeps the node's session alive.
type NodeAliveError struct{ Node, Boot string }

func (e *NodeAliveError) Error() string {
	return fmt.Sprintf("lease: node %q is alive under another boot (%s): is this machine a clone, or does a second agent run in "+
		"another network namespace? Give each its own node name", e.Node, e.Boot)
}
