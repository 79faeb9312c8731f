// Package server is how a node's agent is reached: its socket, for the plugin and the programs of this machine, and its web
// server, for Prometheus, probes and whoever may ask for the version. Both bound what callers cost together, whoever they
// are. What is asked for is done by who is behind the server; see Handler and Node.
package server
