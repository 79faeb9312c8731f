package netops

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/berth-ipam/berth/internal/random"
	"github.com/berth-ipam/berth/internal/task"
)

// bridges remembers which bridges are configured as requested, until the kernel reports a change.
type bridges struct {
	ensuring task.Lock // of whoever gives bridges something, or takes it off
	random   *random.Source

	mu    sync.Mutex
	known map[string]*ensured
}

func newBridges() bridges { return bridges{ensuring: task.NewLock(), random: random.New()} }

// alone waits until nobody else gives bridges anything or takes it off, until unlock is called.
func (b *bridges) alone() (unlock func()) {
	_ = b.ensuring.Lock(context.Background()) // it cannot fail: this context does not end
	return b.ensuring.Unlock
}

type ensured struct {
	bridge   Bridge
	state    BridgeState
	links    []int // indices of bridge and uplink
	had      holdings
	leases   map[netip.Prefix]time.Duration // the longest time for which an address was seen to last
	whole    bool                           // it is as requested
	stale    bool                           // something has changed since it was ensured
	reported bool                           // a change since the last comparison was reported
}

// changed is called by the monitor; index 0 means any link. It reports whether that is the first change of a bridge since its
// last comparison.
func (b *bridges) changed(index int) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.known {
		if index == 0 || slices.Contains(e.links, index) {
			news = news || !e.reported
			e.stale, e.reported = true, true
		}
	}
	return news
}

func (b *bridges) recall(want Bridge) (BridgeState, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.known[want.Name]
	if e == nil || !e.whole || e.stale || !reflect.DeepEqual(e.bridge, want) {
		return BridgeState{}, false
	}
	return e.state, true
}

// hadUplink reports whether the bridge was made whole with the uplink of that name before.
func (b *bridges) hadUplink(want Bridge) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.known[want.Name]
	return e != nil && e.bridge.Uplink == want.Uplink && e.whole
}

// watch begins to remember a bridge before it is read; a change meanwhile makes the entry stale.
func (b *bridges) watch(want Bridge, links ...int) (e *ensured, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = map[string]*ensured{}
	}
	former := b.known[want.Name]
	e = &ensured{bridge: want, links: links}
	if former != nil {
		e.had, e.state, e.leases, e.reported = former.had, former.state, former.leases, former.reported
	}
	b.known[want.Name] = e
	return e, former == nil
}

// formerMAC is the MAC that a bridge of the name had, which its neighbours know; else a new one.
func (b *bridges) formerMAC(name string) net.HardwareAddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.known[name]; e != nil {
		if mac, err := net.ParseMAC(e.state.MAC); err == nil {
			return mac
		}
	}
	return randomMAC(b.random)
}

// remember keeps what the host has on a bridge that is as it should be.
func (b *bridges) remember(name string, had holdings) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.known[name]; e != nil {
		e.had = had
	}
}

// held is what the host had on a bridge when it was last as it should be.
func (b *bridges) held(e *ensured) holdings {
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.had
}

func (b *bridges) settle(e *ensured, state BridgeState, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.whole = err == nil; e.whole {
		e.state = state
	}
}

// invalidate makes the next EnsureBridge read a bridge again; no name: any.
func (b *bridges) invalidate(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for is, e := range b.known {
		e.stale = e.stale || name == "" || is == name
	}
}

// longest is the longest time for which an address of a bridge was seen to last, now included.
func (b *bridges) longest(name string, p netip.Prefix, now time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.known[name]
	if e == nil {
		return now
	}
	if e.leases == nil {
		e.leases = map[netip.Prefix]time.Duration{}
	}
	e.leases[p] = max(e.leases[p], now)
	return e.leases[p]
}

// comparing is called before a comparison of a bridge: changes from now on are reported.
func (b *bridges) comparing(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.known[name]; e != nil {
		e.reported = false
	}
}

// randomMAC is a locally administered unicast MAC with another prefix than the containers' MACs.
func randomMAC(random *random.Source) net.HardwareAddr {
	mac := make(net.HardwareAddr, 6)
	random.Fill(mac)
	mac[0] = 0xba
	return mac
}
