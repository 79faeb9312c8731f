// Package sysctl reads and writes the settings of a network namespace below /proc/sys/net. Everything here runs in the namespace
// of the calling thread.
package sysctl
