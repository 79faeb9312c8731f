// Package transfers moves addresses between nodes: a node tells the others what its ADDs wait for, the others give half of what
// they can spare, and what is not needed goes back to nobody. A transfer whose answer was lost is indeterminate until the
// block's record has been written anew.
package transfers
