// Package client lets a program on a node ask the node's agent what berthctl asks it: to give containers addresses and
// to take them back, and whether a set of containers has completed its configuration update. The agent answers root
// alone.
//
// A [Client] is made of the path of the agent's socket. [Client.Insert] and [Client.Delete] take sets of containers, as a whole or
// member by member; [Client.Version] tells how far a set is, and [Client.Wait] waits until it has all. Every error of the agent
// has a code of the CNI specification or one of Berth's own, in an [Error]; the calls may be repeated.
package client
