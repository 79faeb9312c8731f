// Package server is how a node's agent is reached: its socket, for the plugin and the programs of this machine, and its web
// server, for Prometheus, probes and requests for the version. Both bound what all callers together cost. Requests are served
// by the parts behind the server; see Handler and Node.
package server
