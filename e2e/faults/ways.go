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
			latest := map[netip.Addr]*check.Way{}
			tick := time.NewTicker(looks)
			defer tick.Stop()
			for ctx.Err() == nil {
				w.look(h, latest)
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
			for _, way := range latest {
				w.enterWay(*way)
			}
		})
	}
	all.Wait()
}

// look takes in where a node leads now. What cannot be asked, as of a node that has no power, is not known: the way before has ended.
func (w *world) look(h *host, latest map[netip.Addr]*check.Way) {
	handle, err := h.routes()
	if err == nil {
		defer handle.Close()
	}
	for _, a := range w.watchedMembers() {
		sent := w.now()
		to, failed := "", err
		if failed == nil {
			to, failed = w.leads(h, handle, a)
		}
		way := latest[a]
		switch {
		case failed != nil && way == nil:
		case failed != nil:
			w.enterWay(*way)
			delete(latest, a)
		case way != nil && way.To == to:
			way.End = w.now()
		default:
			if way != nil {
				way.End = sent
				w.enterWay(*way)
			}
			latest[a] = &check.Way{Node: h.Name, Address: a, To: to, Begin: sent, End: w.now()}
		}
	}
}

func (w *world) enterWay(way check.Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history.Ways = append(w.history.Ways, way)
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
func (w *world) leads(h *host, handle *netlink.Handle, to netip.Addr) (string, error) {
	found, err := handle.RouteGet(to.AsSlice())
	for _, refusal := range []error{unix.EHOSTUNREACH, unix.ENETUNREACH} {
		if errors.Is(err, refusal) {
			return "", nil
		}
	}
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, errors.New("faults: no answer"))
	}
	if found[0].Gw == nil {
		return h.Name, nil
	}
	via, _ := netip.AddrFromSlice(found[0].Gw)
	for _, other := range w.nodes {
		if via = via.Unmap(); via == other.Address || via == other.V6 {
			return other.Name, nil
		}
	}
	return via.String(), nil // out of the cluster
}
