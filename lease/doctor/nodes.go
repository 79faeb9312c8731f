package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
)

// compareNodes compares records, sessions, statuses and demands.
func (c *comparison) compareNodes() {
	for name := range c.Nodes {
		switch {
		case !c.known(name):
		case !c.Live(name):
			c.found(Finding{
				Kind: NodeAway, Node: name, Cause: fmt.Sprintf("it has no session, and cannot say what it holds: etcd says %s", c.holdings(name)),
				Repair: fmt.Sprintf("start its agent; if the machine is gone for good: berthctl node remove %s", name), takes: true,
			})
		case slices.Contains(c.silent, name):
			c.found(Finding{
				Kind: NodeSilent, Node: name,
				Cause:  "it has a session and did not answer in time: its agent is stopped, stuck, of an older version, or was ended a moment ago",
				Repair: "look at its agent's log and /readyz, and ask again",
			})
		}
		if c.known(name) && c.Live(name) {
			c.compareStatus(name)
			c.repeatFindings(name)
		}
	}
	for name, session := range c.Sessions {
		c.compareSession(name, session)
	}
	for name := range c.Statuses {
		if c.gone(name) {
			key := kv.Key{Kind: kv.KindStatus, Node: name}
			c.found(Finding{
				Kind: StatusUnknown, Key: c.Text(key), Node: name, Cause: c.absence(name),
				repair: &admin.Repair{Same: guard(name), Delete: []string{c.Text(key)}},
			})
		}
	}
	for _, demand := range c.Demands {
		if !c.Live(demand.Node) {
			c.found(Finding{
				Kind: DemandUnknown, Key: c.Text(demand), Node: demand.Node, Cause: c.absence(demand.Node) + ": nobody waits there",
				repair: &admin.Repair{Same: guard(demand.Node), Delete: []string{c.Text(demand)}},
			})
		}
	}
}

// compareStatus is for a known node with a session.
func (c *comparison) compareStatus(name string) {
	key := kv.Key{Kind: kv.KindStatus, Node: name}
	status, there := c.Statuses[name]
	switch {
	case !there && !c.bad[c.Text(key)]:
		f := Finding{Kind: NodeUnreported, Key: c.Text(key), Node: name, Cause: "it has a session and has not said how it is"}
		if _, answered := c.answers[name]; answered {
			f.ask = []string{name}
		} else {
			f.Repair = "look at its agent's log and /readyz"
		}
		c.found(f)
	case there && max(status.Applied, status.Live) < c.Changed: // what must be made anew is for "berthctl version" to name
		var reasons []string
		for _, lag := range status.Lagging[:min(len(status.Lagging), 3)] {
			reasons = append(reasons, fmt.Sprintf("%s: %s", lag.Attachment, lag.Reason))
		}
		c.found(Finding{
			Kind: NodeBehind, Key: c.Text(key), Node: name, mark: fmt.Sprint(c.Changed),
			Cause: strings.TrimSuffix(fmt.Sprintf("it has applied revision %d of the configuration, of %d: %s", status.Applied, c.Changed,
				strings.Join(reasons, "; ")), ": "),
			Repair: "berthctl version --node " + name,
		})
	}
}

// recordDamaged is the kind of finding that agents have about records in etcd.
const recordDamaged = "record-damaged"

// repeatFindings adds what a live node says is wrong on it. Damaged records are left out: the doctor has read each itself, and
// says how it is repaired.
func (c *comparison) repeatFindings(name string) {
	for _, f := range c.Statuses[name].Findings {
		if f.Kind == recordDamaged {
			continue
		}
		c.found(Finding{Kind: Kind(f.Kind), Node: name, mark: f.Subject, Cause: f.Subject + ": " + f.Text, Repair: f.Advice})
	}
}

func (c *comparison) compareSession(name string, session admin.SessionKey) {
	key := kv.Key{Kind: kv.KindSession, Node: name}
	f := Finding{Key: c.Text(key), Node: name, Repair: "it ends by itself with its lease"}
	switch {
	case !c.known(name):
		f.Kind, f.Cause = SessionUnknown, fmt.Sprintf("there is a session, and no node %s", name)
	case session.Lasting:
		f.Kind, f.Cause = SessionLasting, "the session has no lease: it would never end, and nobody could take what the node has"
	default:
		return
	}
	if session.Lasting {
		f.Repair, f.repair = "", &admin.Repair{Same: []kv.Key{nodeKey(name)}, Delete: []string{c.Text(key)}}
	}
	c.found(f)
}

// holdings counts what etcd says that a node has.
func (v *view) holdings(name string) string {
	parts, assigned, attached := 0, 0, 0
	for _, b := range v.Blocks {
		for _, p := range b.Parts {
			if p.Owner == name {
				parts++
			}
		}
	}
	for _, a := range v.Assignments {
		if a.Node == name {
			assigned++
		}
	}
	for _, r := range v.Reservations {
		if r.Holder != nil && r.Holder.Node == name {
			attached++
		}
	}
	return fmt.Sprintf("%d parts of blocks, %d assignments, %d attached reservations", parts, assigned, attached)
}
