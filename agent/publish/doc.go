// Package publish lets etcd know what the journal says: the assignments of stateless addresses, the node's status, and which
// reservations are not attached here any more.
package publish
