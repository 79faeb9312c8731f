package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/lease/session"
)

// etcdRecovery is the kind of finding about an etcd that was restored, while nothing new is given.
const etcdRecovery = "recovery"

// recoveryGrain is how exactly it is told when a recovery will be over: nodes do not agree on the second.
const recoveryGrain = 10 * time.Second

// ReportRecovery says until when nothing new is given, to whoever looks at the node and to whoever is refused.
func (n *Node) ReportRecovery(left time.Duration) {
	until := time.Now().Add(left).UTC()
	if told := n.recovers.Load(); told != nil && until.Sub(*told).Abs() < recoveryGrain {
		return
	}
	n.recovers.Store(&until)
	n.Findings.Set(etcdRecovery, "etcd",
		fmt.Sprintf("etcd was restored or made anew: until about %s this node claims no block and reserves no new address, so that "+
			"every node has the time to say what it holds", until.Format(time.RFC3339)),
		"wait: nodes go on with what they hold, and the recovery ends by itself; start the agents of all nodes that have containers "+
			"before it does")
}

// Recovered says that nothing is held back any more.
func (n *Node) Recovered() {
	n.recovers.Store(nil)
	n.Findings.Clear(etcdRecovery, "etcd")
}

// Recovery is about when a recovery of etcd will be over; false: there is none.
func (n *Node) Recovery() (until time.Time, is bool) {
	if at := n.recovers.Load(); at != nil {
		return *at, true
	}
	return time.Time{}, false
}

// UntilRecovered is an error with words for how long it holds, where its cause is a recovery.
func (n *Node) UntilRecovered(err error) error {
	until, is := n.Recovery()
	if !is || !errors.Is(err, session.ErrRecovering) {
		return err
	}
	return fmt.Errorf("%w, at about %s, in %s", err, until.Format(time.RFC3339), time.Until(until).Round(time.Second))
}
