package rtnl

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Request is one rtnetlink message, and what it asks for, in words that an error begins with.
type Request struct {
	*nl.NetlinkRequest
	What    string
	Lenient bool // what exists already is success
}

// ask begins a request that the kernel acknowledges.
func ask(kind, flags int, what string, parts ...nl.NetlinkRequestData) Request {
	r := Request{NetlinkRequest: nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK), What: what}
	for _, part := range parts {
		r.AddData(part)
	}
	return r
}

// Replacing has what is asked for take the place of what is there.
func (r Request) Replacing() { r.Flags = r.Flags&^unix.NLM_F_EXCL | unix.NLM_F_REPLACE }

// Appending puts the route that is asked for behind others to the same prefix.
func (r Request) Appending() { r.Flags = r.Flags&^unix.NLM_F_EXCL | unix.NLM_F_APPEND }
