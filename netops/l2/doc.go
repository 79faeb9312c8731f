// Package l2 is what Berth sends and reads on the wire itself: ARP for IPv4, neighbour discovery for IPv6. A Probe asks who has
// an address, without claiming it; an Announcement tells neighbours at which MAC an address is, and an Announcer repeats it.
package l2
