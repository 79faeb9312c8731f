package netops

import "fmt"

// A ForeignError says that the container has an interface of the wanted name already, which Berth did not make.
type ForeignError struct{ Interface, Netns string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("network namespace %s has an interface %s already: want it removed, or another name",
		e.Netns, e.Interface)
}

// A FullError says that a bridge has as many ports as the kernel lets one have (BR_MAX_PORTS).
type FullError struct{ Bridge string }

func (e *FullError) Error() string {
	return fmt.Sprintf("bridge %s has %d ports, and the kernel lets a bridge have no more: give some of this node's containers "+
		"another bridge (a network with another \"bridge\"), or spread them over more nodes",
		e.Bridge, maxPorts)
}

// maxPorts is how many ports a Linux bridge can have: BR_MAX_PORTS is 1024, and number 0 is none.
const maxPorts = 1023

// A RearrangedError says that a container's interface was rearranged since it was attached, so that a change of the port would
// reach something else, or only a part of it. Nothing was changed.
type RearrangedError struct {
	Interface string
	What      string
}

func (e *RearrangedError) Error() string {
	return fmt.Sprintf("interface %s was rearranged by another since it was attached: %s", e.Interface, e.What)
}
