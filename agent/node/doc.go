// Package node is what the parts of a node's agent share: what they work on, the configuration and the hooks that follow it, the
// gate between commits and settling, the attachments' locks, the worker slots for the kernel, and how long other nodes are absent.
//
// # Lock order
//
// Code that needs several of the agent's locks acquires them in this order, and none of an earlier line while it holds one of
// a later line:
//
//  1. an attachment's lock (Locks), at most one, but for an ADD of a set, which takes them in the set's order
//  2. a worker slot (Slots)
//  3. the host's order (package host), to put something on a bridge or take it off, and then the bridges' book
//  4. the gate (Gate), by Commit and Shared as a reader, by Exclusive alone
//  5. the lock of the pools' spaces
//  6. the locks of one subject: known blocks, the journal, waiters, the backlog, findings; of these at most one at a time
//  7. the kernel's table of ports and classes
//
// Lines 1 to 4, but for the book, span calls to the kernel, and line 1 calls to etcd as well. They are made of channels, so that
// who waits for one does not stop the virtual time of a test, which the call of its holder may need. All others are mutexes, and
// nobody calls the kernel or etcd under one. The disk is no such call: the journal writes under its lock. What package netops
// locks within a call is part of the call.
//
// A function whose name ends in Locked is called while the lock of its type is held. Only the functions that Commit, Shared and
// Exclusive are given run under a lock, and the hooks whose names end in Locked; no other hook does.
//
// Package internal/lockorder has these locks as types. Tests are built with its tag, and panic where the order is broken, or where
// Node.Kernel or the client of etcd is asked for under a mutex.
package node
