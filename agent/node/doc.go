// Package node is what the parts of a node's agent share, and the floor that they stand on: the gate between what commits
// and what settles, the locks of attachments, the slots of those who work on the kernel.
//
// # Lock order
//
// Whoever needs several of the agent's locks takes them in this order, and none of an earlier line while he holds one of a
// later line:
//
//  1. an attachment's lock (Locks), at most one, but for an ADD of a set, which takes them in the set's order
//  2. a worker slot (Slots)
//  3. the host's order (package host), by who puts something on a bridge or takes it off, and then the bridges' book
//  4. the gate (Gate), by Commit and Shared as a reader, by Exclusive alone
//  5. the lock of the pools' spaces
//  6. the locks of one subject: known blocks, the journal, waiters, the backlog, findings; of these at most one at a time
//  7. the kernel's table of ports and classes
//
// A function whose name ends in Locked is called while the lock of its type is held. No hook is called under a lock, but for
// what Commit, Shared and Exclusive are given.
package node
