// Package kernel is a model of what agent.Kernel is to the agents of a whole cluster: hosts with links, bridges, containers'
// network namespaces and the fence, on one layer-2 network, in memory. It keeps time by package time alone, so that it runs on
// the virtual clock of a testing/synctest bubble, and it has no chance in it: faults are decided by the caller. What each method
// does, netops says; a differential test holds the two against each other.
//
// What it leaves out: the host's routes but for those between nodes, which are kept and lead no packet; the lifetimes of addresses
// (leases of DHCP), announcements, and tables of the fence of which only a part is gone.
package kernel
