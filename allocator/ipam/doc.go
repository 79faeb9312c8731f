// Package ipam has the words that every part of Berth shares about addresses: an address in a pool, a block's id, and how long
// somebody waits until another node's right has run out. It is pure: no I/O, no clock, no goroutine.
package ipam
