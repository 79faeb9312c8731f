// Package lockorder holds the types of the agent's locks, one for each line of the lock order that package agent/node writes
// down. As built for use they are those of package sync, or a Spanning where the holder may call the kernel or etcd, and cost
// nothing more. Built with the tag lockorder, as make test does, each looks whether the goroutine that takes it holds one of the
// same or of a later line, and panics where it does; and whoever calls the kernel or etcd panics under a lock that spans no call.
package lockorder

// What Calls is told of.
const (
	Etcd   = "etcd"
	Kernel = "the kernel"
)
