// Package netops configures the kernel of a node: bridges, the ports that join containers to them, the routes between nodes, and the
// table that lets a port's traffic through or cuts it. Everything here is idempotent, and undone as a whole where it fails.
//
// Routes between nodes lead to a node's address directly, or through a VXLAN device (RFC 7348) of which no node has to be told anything:
// its MAC, its neighbours and its forwarding entries follow from the nodes' addresses. See Routing, Hop and Towards.
//
// A Kernel is all of it. The packages below know nothing of containers: rtnl speaks rtnetlink, fence nftables, l2 sends and
// reads frames, sysctl reads and writes /proc/sys/net. hold keeps two agents from using one network namespace.
package netops
