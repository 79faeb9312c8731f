// Package member keeps this node a member of the cluster. It joins with a generation, settles what the node holds by etcd, and
// renews the session by proofs, each of which restarts the node's rights; in strict mode the kernel counts the rights too. It
// follows the configuration, the reservations, the nodes and their sessions, and handles the recovery of a restored etcd.
package member
