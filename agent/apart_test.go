package agent

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/netops/nettest"
)

// reaches reports whether a datagram from one container arrives at an address of another within the time in which it should, or should
// not.
func (r *rig) reaches(from, to wire.Container, at netip.Addr, should bool) bool {
	r.t.Helper()
	space := func(c wire.Container) nettest.Space { return nettest.Space{T: r.t, Path: c.Netns} }
	within := nettest.Silence
	if should {
		within = nettest.Patience
	}
	return nettest.Hears(r.t, space(from), space(to), at, within)
}

func TestContainersReachEachOtherUnlessTheirPoolIsolatesThem(t *testing.T) {
	for _, pool := range []string{"default", "routed"} {
		t.Run(pool, func(t *testing.T) {
			r := newRig(t)
			r.routed()
			a, b := r.stateless("a", "web"), r.stateless("b", "web")
			a.Pool, b.Pool = pool, pool
			addrs := map[string]netip.Addr{"a": r.add(a), "b": r.add(b)}
			expect := func(when string, should bool) {
				t.Helper()
				if r.reaches(a, b, addrs["b"], should) != should || r.reaches(b, a, addrs["a"], should) != should {
					t.Errorf("%s: want that they reach each other: %t", when, should)
				}
			}
			expect("added", true)
			for _, isolate := range []bool{true, false} {
				r.change(func(c *config.Config) {
					p := c.Pools[pool]
					p.Isolate = isolate
					c.Pools[pool] = p
				})
				r.until("the change is applied", func() bool { v := r.agent.updater.Revision(); return v.Complete && v.Revision == r.revision() })
				expect("changed", !isolate)
				r.del(b)
				addrs["b"] = r.add(b)
				expect("one is new", !isolate)
				check(t, r.agent.Kernel().EnsureTable())
				r.restart()
				expect("restarted", !isolate)
			}
		})
	}
}
