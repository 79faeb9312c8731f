// Package conflict probes addresses on the wire before a container gets them, because a host behind an uplink may use one without
// an assignment (address conflict detection, RFC 5227). A host that answers for every address is proxy ARP, and is ignored.
package conflict
