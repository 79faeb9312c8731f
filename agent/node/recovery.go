package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/lease/session"
)

// etcdRecovery is the kind of finding about a restored etcd, while nothing new is given.
const etcdRecovery = "recovery"

// recoveryGrain is what the end of a recovery is rounded to: nodes do not agree on the second.
const recoveryGrain = 10 * time.Second

// ReportRecovery sets the finding about a recovery, with its end, and keeps that end for UntilRecovered.
func (n *Node) ReportRecovery(left time.Duration) {
	until := n.Clock.Wall().Add(left)
	if reported := n.recovers.Load(); reported != nil && until.Sub(*reported).Abs() < recoveryGrain {
		return
	}
	n.recovers.Store(&until)
	n.Findings.Set(etcdRecovery, "etcd",
		fmt.Sprintf("etcd was restored or made anew: until about %s this node claims no block and reserves no new address, so that "+
			"every node has the time to say what it holds", until.Format(time.RFC3339)),
		"wait: nodes go on with what they hold, and the recovery ends by itself; start the agents of all nodes that have containers "+
			"before it does")
}

// ReportRecoveryWaits sets the finding about a recovery whose time cannot begin yet.
func (n *Node) ReportRecoveryWaits() {
	n.recovers.Store(nil)
	n.Findings.Set(etcdRecovery, "etcd", "etcd was restored or made anew, and nothing tells yet how long a node may go on without it: "+
		"this node claims no block and reserves no new address until that is known and that time is over",
		"apply the configuration with berthctl apply where etcd has none; else wait: berthctl doctor says which record cannot be read")
}

// Recovered ends the recovery.
func (n *Node) Recovered() {
	n.recovers.Store(nil)
	n.Findings.Clear(etcdRecovery, "etcd")
}

// recovery is about when a recovery of etcd ends; false: there is none.
func (n *Node) recovery() (until time.Time, is bool) {
	if at := n.recovers.Load(); at != nil {
		return *at, true
	}
	return time.Time{}, false
}

// UntilRecovered adds the end of the recovery to an error that a recovery has caused.
func (n *Node) UntilRecovered(err error) error {
	until, is := n.recovery()
	if !is || !errors.Is(err, session.ErrRecovering) {
		return err
	}
	return fmt.Errorf("%w, at about %s, in %s", err, until.Format(time.RFC3339), until.Sub(n.Clock.Wall()).Round(time.Second))
}
