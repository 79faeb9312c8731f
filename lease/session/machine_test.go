package session_test

import (
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/session"
)

// past is what a node remembers of a session.
func past(at session.ClusterState, x *lab.Joined) session.Past {
	return session.Past{Cluster: at.Cluster, Incarnation: at.Incarnation, Generation: x.Generation()}
}
