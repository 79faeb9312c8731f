// Package publish writes to etcd what the journal records: the assignments of stateless addresses, the node's status, and
// detachments of reservations.
package publish
