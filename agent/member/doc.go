// Package member keeps this node a member of the cluster. It joins with a generation, settles what the node holds by what etcd
// says, and keeps the session by proofs, each of which begins the node's rights anew; in strict mode the kernel counts them too.
// It follows the configuration, the reservations, the nodes and their sessions, and gives a restored etcd its recovery.
package member
