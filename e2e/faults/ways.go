package faults

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// looks is the time from one look at where a node's kernel leads to members to the next.
const looks = 50 * time.Millisecond

// ways asks each node's kernel where it leads to every member's addresses, until ctx ends.
func (w *world) ways(ctx context.Context) {
	var all sync.WaitGroup
	for _, h := range w.nodes {
		all.Go(func() {
			tick := time.NewTicker(looks)
			defer tick.Stop()
			for ctx.Err() == nil {
				w.look(h)
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	all.Wait()
}

// look takes in where a node leads now. A node that has no power cannot be asked.
func (w *world) look(h *host) {
	handle, err := h.routes()
	if err == nil {
		defer handle.Close()
	}
	for _, a := range w.watchedMembers() {
		asked, to := w.now(), check.Unknown
		if err == nil {
			to = w.leads(h, handle, a)
		}
		w.seen(check.Way{Node: h.Name, Address: a, To: to, Begin: w.now(), End: asked})
	}
}

// seen takes in where a node was seen to lead to an address.
func (w *world) seen(now check.Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := leading{now.Node, now.Address}
	way := w.leading[at]
	if way != nil && way.To == now.To {
		way.End = now.End
		return
	}
	if way != nil {
		w.history.Ways = append(w.history.Ways, *way)
	}
	w.leading[at] = &now
}

// leading is a node, and an address that it leads to.
type leading struct {
	node    string
	address netip.Addr
}

// watchedMembers are the addresses that members were answered.
func (w *world) watchedMembers() (all []netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for a := range w.members {
		all = append(all, a)
	}
	return all
}

// routes asks the node's kernel.
func (h *host) routes() (*netlink.Handle, error) {
	space, err := netns.GetFromPath(h.Netns())
	if err != nil {
		return nil, err
	}
	defer space.Close()
	return netlink.NewHandleAt(space, unix.NETLINK_ROUTE)
}

// leads is the name of the node that a packet for an address goes to; empty: it is refused.
func (w *world) leads(h *host, handle *netlink.Handle, to netip.Addr) string {
	found, err := handle.RouteGet(to.AsSlice())
	for _, refusal := range []error{unix.EHOSTUNREACH, unix.ENETUNREACH} {
		if errors.Is(err, refusal) {
			return ""
		}
	}
	if err != nil || len(found) == 0 {
		return check.Unknown
	}
	if found[0].Gw == nil {
		return h.Name
	}
	via, _ := netip.AddrFromSlice(found[0].Gw)
	for _, other := range w.nodes {
		if via = via.Unmap(); via == other.Address || via == other.V6 {
			return other.Name
		}
	}
	return via.String() // out of the cluster
}
