// Package machine keeps the addresses that the host itself has, and that lie in a pool, from being given to a container.
package machine
