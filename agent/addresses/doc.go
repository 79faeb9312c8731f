// Package addresses knows which addresses are this node's and gives them to ADDs. The parts of blocks that the node owns are
// spaces of package allocator, one for each pool and family; the view of the cluster's blocks says what they are. An ADD that
// finds no address waits in a queue, while a block is claimed or taken over from an absent node.
//
// A part that leaves the node is in flight from when it leaves the allocator until the outcome in etcd is known. What another
// journal of this boot may have allocated is quarantined.
package addresses
