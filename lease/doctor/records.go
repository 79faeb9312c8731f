package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/lease"
)

// compareRecords tells of what cannot be read. What is only published is deleted: its node publishes it again.
func (l *look) compareRecords() {
	for _, b := range l.Bad {
		f := Finding{Key: b.Text, Cause: strings.TrimPrefix(b.Reason.Error(), "lease: "), mark: fmt.Sprint(l.Revisions(b.Text))}
		switch b.Key.Kind {
		case "":
			f.Kind = KeyUnreadable
			f.Mend = fmt.Sprintf("no part of Berth reads it; see etcdctl get %s, then %s", quoted(b.Text), deleteKey(b.Text))
		case lease.KindAssignment:
			f.Kind, f.remedy = RecordUnreadable, &lease.Remedy{Delete: []string{b.Text}}
			f.ask = l.ownersOf(place{b.Key.Pool, b.Key.Address})
		case lease.KindStatus:
			f.Kind, f.remedy = RecordUnreadable, &lease.Remedy{Delete: []string{b.Text}}
			if _, answered := l.answers[b.Key.Node]; answered {
				f.ask = []string{b.Key.Node}
			}
		case lease.KindIdentity:
			f.Kind = RecordUnreadable
			record, same, whole := l.identityBy(l.reservationsOf()[b.Key.Identity])
			if f.remedy = nil; whole {
				f.remedy = &lease.Remedy{Same: same, Put: []lease.Record{{Key: b.Key, Value: record}}}
			} else {
				f.Mend = fmt.Sprintf("see etcdctl get %s and berthctl get reservations, then %s", quoted(b.Text), deleteKey(b.Text))
			}
		default:
			f.Kind = RecordUnreadable
			f.Mend = fmt.Sprintf("see etcdctl get %s, and write it as it was, or %s%s", quoted(b.Text), deleteKey(b.Text), afterDeletion(b.Key.Kind))
		}
		l.found(f)
	}
	if id := l.ClusterID; l.Cluster == nil && len(l.Nodes) > 0 && !l.bad[l.Text(lease.Key{Kind: lease.KindCluster})] {
		l.found(Finding{
			Kind: ClusterDiffers, Key: l.Text(lease.Key{Kind: lease.KindCluster}),
			Cause: fmt.Sprintf("no record says which etcd the state belongs to; this one is cluster %s", id),
			Mend:  "the agents write it by themselves when they join, or once the longest right has run out",
		})
	} else if l.Cluster != nil && l.Cluster.ID != "" && l.Cluster.ID != id {
		l.found(Finding{
			Kind: ClusterDiffers, Key: l.Text(lease.Key{Kind: lease.KindCluster}),
			Cause: fmt.Sprintf("the state belongs to the etcd cluster %s, and this one is %s: it was restored, or made anew", l.Cluster.ID, id),
			Mend:  "the agents accept it by themselves once the longest right has run out; if these are the wrong --etcd-endpoints, give the right ones",
		})
	}
}

// afterDeletion says what the deletion of a record comes to, where that is not plain.
func afterDeletion(kind lease.Kind) string {
	switch kind {
	case lease.KindBlock:
		return " and at once berthctl doctor --fix, while its owner's agent runs: until it has claimed it again, another node may"
	case lease.KindReservation:
		return " and at once berthctl doctor --fix, while all agents run: until it is there again, its address may be another's"
	case lease.KindNode:
		return ": its agent takes etcd for a restored one then, and nothing new is given until the longest right and a tenth have passed"
	case lease.KindSettings:
		return ": the defaults count then; see berthctl get history"
	case lease.KindPool:
		return ", and apply it again; see berthctl get history"
	}
	return ""
}

// settling are the kinds of which every node reads every record when it joins. What it cannot read of others it passes
// over, and one with a record of its own that cannot be read has no session to be asked by.
var settling = []lease.Kind{lease.KindCluster, lease.KindRevision, lease.KindSettings, lease.KindPool}

// nobodySettles reports whether records that cannot be read, and that only a person can mend, would keep every node from
// settling: one that was asked to would be without a session from then on.
func (l *look) nobodySettles() bool {
	return slices.ContainsFunc(l.findings, func(f Finding) bool {
		return (f.Kind == RecordUnreadable || f.Kind == KeyUnreadable) && f.remedy == nil &&
			slices.ContainsFunc(settling, func(k lease.Kind) bool { return l.Is(f.Key, k) })
	})
}

// askNobody leaves what only a settling node could mend.
func (l *look) askNobody() {
	for i := range l.findings {
		if f := &l.findings[i]; len(f.ask) > 0 {
			f.ask, f.Fix = nil, f.remedy != nil
			if !f.Fix {
				f.Mend = "first mend the records of the configuration or the cluster that cannot be read: no node can settle while they are there; then berthctl doctor --fix"
			}
		}
	}
}

// ownersOf are the nodes that answered and own an address.
func (l *look) ownersOf(at place) (names []string) {
	for name := range l.answers {
		if l.owns(name, at) {
			names = append(names, name)
		}
	}
	return names
}
