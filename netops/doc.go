// Package netops is what the kernel of a node holds: bridges, the ports that join containers to them, and the table
// that lets a port's traffic through or cuts it. Everything here is idempotent, and undone as a whole where it fails.
//
// A Kernel is the whole of it. Below it are rooms that know nothing of containers: rtnl speaks rtnetlink, fence nftables, l2
// sends and reads frames, sysctl reads and writes /proc/sys/net. hold keeps two agents from one network namespace.
package netops
