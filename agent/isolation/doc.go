// Package isolation cuts the ports of containers that have lost their address, and of ports whose container is unknown.
package isolation
