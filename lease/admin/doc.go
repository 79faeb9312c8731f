// Package admin is for who sees to the cluster: all that etcd has at once, its repair, what the nodes report of themselves, and the
// removal of a node.
package admin
