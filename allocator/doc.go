// Package allocator decides which address a container gets. It holds the domain's types too: names, pools, ranges. It does
// no I/O, knows no clock and starts no goroutine: the caller says what time it is.
//
// A [Pool] says which addresses there are, and for whom. A [Space] is what one node owns of a pool in one family: blocks, or parts
// of blocks, that the caller adds when the cluster has given them to it, and removes when it gives them away. [Space.Allocate]
// chooses an address of it; [Space.Release] returns one and keeps it for the same app for the pool's reuse time.
package allocator
