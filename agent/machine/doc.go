// Package machine keeps the host's own addresses that lie in a pool from being allocated to containers.
package machine
