package node

import (
	"cmp"
	"fmt"

	"github.com/berth-ipam/berth/lease/kv"
)

// etcdAccess is the kind of finding about what etcd refuses this node.
const etcdAccess = "etcd-access"

// ReportAccess sets a finding while etcd refuses this node something, and clears it when it does not.
func (n *Node) ReportAccess(what string, err error) {
	if err == nil {
		n.Findings.Clear(etcdAccess, what)
		return
	}
	advice := fmt.Sprintf("give the user of --etcd-user the role that docs/etcd.md shows, for the keys under %s; the agent tries "+
		"again by itself", cmp.Or(n.Etcd.Prefix, kv.DefaultPrefix))
	if what == kv.TheUser {
		advice = "see that --etcd-user and the content of --etcd-password-file are what etcd knows; the file is read again at the next try"
	}
	n.Findings.Set(etcdAccess, what, fmt.Sprintf("etcd refuses it: %v", err), advice)
}

// etcdRelease is the kind of finding about the release of a member of etcd.
const etcdRelease = "etcd-release"

// WarnOfReleases reports the known faults of the releases of etcd's members.
func (n *Node) WarnOfReleases(warnings []*kv.ReleaseWarning) {
	var endpoints []string
	for _, w := range warnings {
		endpoints = append(endpoints, w.Endpoint)
		n.Findings.Set(etcdRelease, w.Endpoint, w.Error(), "raise etcd's release, see docs/etcd.md")
	}
	n.Findings.Keep(etcdRelease, endpoints...)
}
