// Package caretaker does what one node of the cluster does for all: it looks for damaged records, ends reservations that have
// outlived their pool's retain time, and frees former gateways.
package caretaker
