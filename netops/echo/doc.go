// Package echo asks for ICMP echoes (RFC 792, RFC 4443) of a size, none of which may be fragmented, from within a network namespace.
package echo
