// Package apart keeps with which addresses isolated containers exchange nothing over this node: those that containers of isolated pools
// may have, by the configuration and by etcd's records of blocks, which say what addresses the nodes themselves have. On one node the
// kernel tells isolated containers by their ports, too: see netops/fence.
//
// While the configuration or the records are unknown, as at the start or after etcd was made anew, what the kernel has stays. What was
// known of a record that cannot be read stays.
package apart
