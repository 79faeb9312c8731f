package watch

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// Routers is the wire of containers behind nodes that route to them: the watcher is a host beside the nodes, and sends echo requests (RFC
// 792, RFC 4443) for an address to each node in turn, as a host does whose next hop that node is. A node that has the address leads to
// its own container, whatever the others have; so two that have it are both heard. A node that has it not leads to the one that it
// believes to have it.
//
// The reply comes by the node of the container that answers, and its TTL is the container's mark less one, for the hop.
type Routers struct {
	Nodes []Router
	Seat  []netip.Prefix // the watcher's own addresses
	// Who is the container of a node with a mark.
	Who func(node string, mark byte) (check.MAC, bool)

	mu sync.Mutex
	on map[check.MAC]int // by which of the nodes a container has answered
}

// A Router is a node, and its MAC on the network.
type Router struct {
	Name string
	MAC  check.MAC
}

// Marks are those that containers can have: initial TTLs, and hop limits.
const (
	FirstMark = 65
	LastMark  = 254
)

const (
	typeIPv4 = 0x0800
	icmp     = 1
	icmpV6   = 58

	echoRequest, echoReply     = 8, 0
	echoRequestV6, echoReplyV6 = 128, 129

	echoID = 0xbe57
)

// seat is the watcher's MAC.
var seat = check.MAC{0x02, 0xbe, 0x57, 1, 0, 0}

func (r *Routers) requests(address netip.Addr, slot int, to check.MAC) (frames [][]byte) {
	r.mu.Lock()
	one, known := r.on[to]
	r.mu.Unlock()
	for i := range r.Nodes {
		if !known || i == one {
			frames = append(frames, r.echo(address, slot, i))
		}
	}
	return frames
}

// echo is an echo request by a node's route.
func (r *Routers) echo(to netip.Addr, slot, node int) (frame []byte) {
	body := []byte{echoRequest, 0, 0, 0}
	body = binary.BigEndian.AppendUint16(body, echoID)
	body = append(body, byte(slot), byte(node))
	from := r.source(to)
	if to.Is4() {
		binary.BigEndian.PutUint16(body[2:], fold(body))
		header := []byte{0x45, 0, 0, byte(20 + len(body)), 0, 0, 0, 0, 64, icmp, 0, 0}
		header = append(append(header, from.AsSlice()...), to.AsSlice()...)
		binary.BigEndian.PutUint16(header[10:], fold(header))
		return slices.Concat(ethernet(r.Nodes[node].MAC, seat, typeIPv4), header, body)
	}
	body[0] = echoRequestV6
	binary.BigEndian.PutUint16(body[2:], checksum(from.As16(), to.As16(), body))
	header := []byte{0x60, 0, 0, 0, 0, byte(len(body)), icmpV6, 64}
	header = append(append(header, from.AsSlice()...), to.AsSlice()...)
	return slices.Concat(ethernet(r.Nodes[node].MAC, seat, typeIPv6), header, body)
}

// source is the watcher's address of a family.
func (r *Routers) source(to netip.Addr) netip.Addr {
	i := slices.IndexFunc(r.Seat, func(p netip.Prefix) bool { return p.Addr().Is4() == to.Is4() })
	return r.Seat[i].Addr()
}

func (r *Routers) answered(frame []byte) (a answer, ok bool) {
	if len(frame) < 14 || check.MAC(frame[:6]) != seat {
		return a, false
	}
	address, ttl, body := reply(binary.BigEndian.Uint16(frame[12:]), frame[14:])
	if len(body) < 8 || binary.BigEndian.Uint16(body[4:]) != echoID {
		return a, false
	}
	node := slices.IndexFunc(r.Nodes, func(n Router) bool { return n.MAC == check.MAC(frame[6:12]) })
	if a.slot = int(body[6]); node < 0 || a.slot >= slots || int(body[7]) >= len(r.Nodes) {
		return a, false
	}
	a.address, a.via = address, r.Nodes[body[7]].Name
	if a.by, ok = r.Who(r.Nodes[node].Name, ttl+1); !ok {
		a.by = check.MAC{0xff, 0, 0, 0, byte(node), ttl + 1} // a stranger
		return a, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on == nil {
		r.on = map[check.MAC]int{}
	}
	r.on[a.by] = node
	return a, true
}

// reply reads a packet that is an echo reply: from whom, with which TTL, and the message; none: it is none.
func reply(kind uint16, packet []byte) (from netip.Addr, ttl byte, body []byte) {
	switch {
	case kind == typeIPv4 && len(packet) >= 20 && packet[9] == icmp:
		from, _ = netip.AddrFromSlice(packet[12:16])
		ttl, body = packet[8], packet[min(len(packet), int(packet[0]&0x0f)*4):]
		if len(body) > 0 && body[0] == echoReply {
			return from, ttl, body
		}
	case kind == typeIPv6 && len(packet) >= 40 && packet[6] == icmpV6:
		from, _ = netip.AddrFromSlice(packet[8:24])
		ttl, body = packet[7], packet[40:]
		if len(body) > 0 && body[0] == echoReplyV6 {
			return from, ttl, body
		}
	}
	return from, 0, nil
}
