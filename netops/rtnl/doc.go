// Package rtnl speaks rtnetlink with the kernel of a network namespace: links, their addresses, routes and the ids of other
// namespaces; and it listens to what the kernel tells by itself.
//
// A Socket carries out Requests, many of them in one exchange. Each Request says in words what it asks for, and errors begin with
// them. A Pool lends the sockets of one namespace; Within enters another one. Steps are requests that are carried out as a whole or
// undone. A Feed is a subscription to one of the kernel's multicast groups.
package rtnl
