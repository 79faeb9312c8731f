package watch

import (
	"net/netip"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// A Wire is how a network is asked who has an address, and how it answers.
type Wire interface {
	// requests are the frames that ask for an address: of one container, or of everybody if to is zero.
	requests(address netip.Addr, slot int, to check.MAC) [][]byte
	// answered reads an answer to a request.
	answered(frame []byte) (a answer, ok bool)
}

// An answer tells who has an address.
type answer struct {
	address netip.Addr
	by      check.MAC
	slot    int    // of the round of the request
	via     string // the node whose route the request took; empty where it took none
}

// Neighbours is the wire of containers that share a link: they answer ARP requests and neighbour solicitations with their MACs.
type Neighbours struct{}

func (Neighbours) requests(address netip.Addr, slot int, to check.MAC) [][]byte {
	return [][]byte{request(address, slot, to)}
}

func (Neighbours) answered(frame []byte) (a answer, ok bool) {
	a.address, a.by, a.slot, ok = answered(frame)
	return a, ok
}
