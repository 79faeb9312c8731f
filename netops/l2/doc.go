// Package l2 sends and reads frames: ARP for IPv4, neighbour discovery for IPv6. A Probe asks which host has an address, without
// claiming it; an Announcement announces the MAC of an address, and an Announcer repeats it.
package l2
