// Package isolation decides which of the node's ports the kernel lets pass, where etcd does not say that an address is its
// container's: who has lost his address is cut off, and what nobody can tell whose it is, is set aside.
package isolation
