// Package connectivity is this node's part of a check that an operator asks for: whether containers of several nodes reach each
// other. It makes a container in each pool as a runtime would, by the ordinary ADD, so that fencing, antiSpoof and routes are the
// real ones, and asks the others' for echoes from inside of it.
//
// The containers' namespaces belong to this process: where it ends in the middle, the kernel ends them, and the next agent finds their
// addresses to be nobody's, as it does with any container that is gone without a DEL.
package connectivity
