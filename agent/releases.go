package agent

import (
	"github.com/berth-ipam/berth/lease/kv"
)

// etcdRelease is the kind of finding about the release of a member of etcd.
const etcdRelease = "etcd-release"

// warnOfReleases says of each member of etcd what is known to be wrong with its release.
func (a *Agent) warnOfReleases(warnings []*kv.ReleaseWarning) {
	var endpoints []string
	for _, w := range warnings {
		endpoints = append(endpoints, w.Endpoint)
		a.findings.Set(etcdRelease, w.Endpoint, w.Error(), "raise etcd's release, see docs/etcd.md")
	}
	a.findings.Keep(etcdRelease, endpoints...)
}
