// Package conflict asks the wire for addresses before they are given to a container, since a host behind an uplink may have one
// that nobody gave (address conflict detection, RFC 5227). Who answers for everything is proxy ARP, and is ignored.
package conflict
