// Package caretaker does what one node of the cluster does for all: it finds damaged records, ends reservations whose pool's
// retain time is over, and frees former gateways.
package caretaker
