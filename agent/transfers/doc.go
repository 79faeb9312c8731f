// Package transfers moves addresses between nodes: a node publishes what its ADDs wait for, the others donate half of what they
// can spare, and unneeded blocks are returned. A transfer whose answer was lost is indeterminate until the block's record has
// been rewritten.
package transfers
