package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

const (
	// oneSlash24 has 253 usable addresses: 256 without the network's, the broadcast address and the gateway.
	oneSlash24 = `pools:
  - name: default
    cidrs: [10.42.7.0/24]
    gateways: [10.42.7.1]
`
	// oneBlock is split from its first address on: a block is all of the pool.
	oneBlock = `pools:
  - name: default
    cidrs: [10.42.7.0/26]
    gateways: [10.42.7.1]
    blockSize: {v4: 26}
`
	// few has 13 addresses, fewer than there are callers.
	few = `pools:
  - name: default
    cidrs: [10.42.7.0/28]
    gateways: [10.42.7.1]
    blockSize: {v4: 28}
`
	// twoFamilies has 29 addresses of IPv4, and 30 of IPv6: one less for the subnet's routers and one for the gateway.
	twoFamilies = `pools:
  - name: default
    cidrs: [10.42.7.0/27, "fd00:42::/123"]
    gateways: [10.42.7.1, "fd00:42::1"]
    blockSize: {v4: 28, v6: 124}
`
)

// fill holds so many addresses at once, each container on the node that place says. Each ADD is repeated as a runtime
// would.
func fill(t *testing.T, l *lab.Lab, n int, place func(i int) *lab.Node) []*lab.Container {
	t.Helper()
	containers := make([]*lab.Container, n)
	for i := range containers {
		containers[i] = container(t, place(i), l, "BERTH_NAMESPACE", "shop", "BERTH_APP", fmt.Sprintf("web-%d", i%7))
	}
	began := time.Now()
	each(t, containers, func(_ int, c *lab.Container) error {
		return lab.Eventually(t.Context(), "ADD of "+c.ID, func() error {
			_, err := c.Add(t.Context())
			return err
		})
	})
	t.Logf("%d addresses are held at once after %v", n, time.Since(began).Round(time.Millisecond))
	differ(t, containers)
	return containers
}

// differ fails the test where two containers have the same address, or one has another than it was answered.
func differ(t *testing.T, containers []*lab.Container) {
	t.Helper()
	who := map[netip.Addr]string{}
	for _, c := range containers {
		found, err := c.Addresses()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range c.All {
			if other, twice := who[a]; twice {
				t.Errorf("%s and %s both have %v", other, c.ID, a)
			}
			who[a] = c.ID
			if !slices.ContainsFunc(found, func(p netip.Prefix) bool { return p.Addr() == a }) {
				t.Errorf("%s was answered %v and has %v", c.ID, a, found)
			}
		}
	}
}

// oneMoreWaits begins an ADD of which there is no address left, and ends it by a DEL of another container.
func oneMoreWaits(t *testing.T, l *lab.Lab, on *lab.Node, ends *lab.Container) *lab.Container {
	t.Helper()
	waiting := container(t, on, l)
	done := make(chan error, 1)
	began := time.Now()
	go func() {
		_, err := waiting.Add(t.Context())
		done <- err
	}()
	labtest.Eventually(t, on.Name+" waits", func() error {
		n, err := on.Metric(t.Context(), "berth_waiting_requests")
		if err == nil && n != 1 {
			err = fmt.Errorf("%v requests wait on it", n)
		}
		return err
	})
	select {
	case err := <-done:
		t.Fatalf("ADD without an address left has ended: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	freed := ends.Address
	released := time.Now()
	del(t, ends)
	if err := <-done; err != nil {
		t.Fatalf("ADD on %s, after %v was released on %s: %v", on.Name, freed, ends.Node.Name, err)
	}
	t.Logf("ADD on %s waited %v for an address, and ended %v after a DEL began on %s", on.Name,
		released.Sub(began).Round(time.Millisecond), time.Since(released).Round(time.Millisecond), ends.Node.Name)
	if waiting.Address != freed {
		t.Errorf("the ADD was answered %v: want %v, the only one that is free", waiting.Address, freed)
	}
	return waiting
}

// exhausted fails the test unless an ADD is refused in the end.
func exhausted(t *testing.T, l *lab.Lab, on *lab.Node) {
	t.Helper()
	c := container(t, on, l)
	_, err := c.Add(t.Context())
	refused(t, err, 11, "exhausted")
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

func deleteAll(t *testing.T, containers []*lab.Container) {
	t.Helper()
	each(t, containers, func(_ int, c *lab.Container) error {
		return lab.Eventually(t.Context(), "DEL of "+c.ID, func() error { return c.Delete(t.Context()) })
	})
}

// unowned waits until nothing is assigned and nobody asks for an address any more.
func unowned(t *testing.T, l *lab.Lab) {
	t.Helper()
	labtest.Eventually(t, "nothing is assigned and nobody waits", func() error {
		assignments, err := l.Etcd.Get(t.Context(), "/berth/v1/assignments/")
		demands, other := l.Etcd.Get(t.Context(), "/berth/v1/demands/")
		if err = errors.Join(err, other); err == nil && len(assignments)+len(demands) > 0 {
			err = fmt.Errorf("%v and %v are left", assignments, demands)
		}
		return err
	})
}

func TestTenNodesHoldEveryAddressOfASlash24AtOnceWhereverTheyStart(t *testing.T) {
	l := newLab(t, 10, oneSlash24)
	const usable = 253
	anywhere := func(int) *lab.Node { return l.Nodes[rand.IntN(len(l.Nodes))] }
	containers := fill(t, l, usable, anywhere)
	for range 3 {
		ends := rand.IntN(usable)
		on := anywhere(0)
		for on == containers[ends].Node {
			on = anywhere(0)
		}
		containers[ends] = oneMoreWaits(t, l, on, containers[ends])
		differ(t, containers)
	}
	exhausted(t, l, l.Nodes[3])
	deleteAll(t, containers)
	unowned(t, l)
	// All on one node, which has had its share alone.
	containers = fill(t, l, usable, func(int) *lab.Node { return l.Nodes[7] })
	deleteAll(t, containers)
	unowned(t, l)
	deleteAll(t, fill(t, l, usable, anywhere))
	unowned(t, l)
}

func TestABlockThatIsAllOfThePoolIsSharedToItsLastAddress(t *testing.T) {
	l := newLab(t, 4, oneBlock)
	const usable = 61
	for _, place := range []func(int) *lab.Node{
		func(int) *lab.Node { return l.Nodes[0] }, func(i int) *lab.Node { return l.Nodes[i%4] }, func(int) *lab.Node { return l.Nodes[3] },
	} {
		containers := fill(t, l, usable, place)
		containers[9] = oneMoreWaits(t, l, l.Nodes[1+rand.IntN(2)], containers[9])
		deleteAll(t, containers)
		unowned(t, l)
	}
}

func TestBothFamiliesAreUsableToTheLastAddress(t *testing.T) {
	l := makeLab(t, lab.Options{Nodes: 3}, twoFamilies)
	const usable = 29 // of IPv4, which has fewer
	for range 2 {
		containers := fill(t, l, usable, func(i int) *lab.Node { return l.Nodes[i%3] })
		for _, c := range containers {
			if len(c.All) != 2 {
				t.Errorf("%s has %v: want one address of each family", c.ID, c.All)
			}
		}
		containers[4] = oneMoreWaits(t, l, l.Nodes[0], containers[4])
		deleteAll(t, containers)
		unowned(t, l)
	}
}

func TestWithMoreCallersThanAddressesNoneIsHeldTwiceAndNoneIsLostThoughAgentsAreKilled(t *testing.T) {
	l := newLab(t, 4, few)
	const usable = 13
	h := &holders{by: map[netip.Addr]string{}}
	containers := make([]*lab.Container, 160)
	for i := range containers {
		containers[i] = container(t, l.Nodes[i%4], l, "BERTH_NAMESPACE", "shop", "BERTH_APP", fmt.Sprintf("web-%d", i%7))
	}
	kills, stop := 0, make(chan struct{})
	var killer errgroup.Group
	killer.Go(func() error {
		for ; ; kills++ {
			select {
			case <-stop:
				return nil
			case <-time.After(time.Duration(200+rand.IntN(400)) * time.Millisecond):
			}
			node := l.Nodes[rand.IntN(len(l.Nodes))]
			if err := errors.Join(node.Kill(), node.Start(t.Context())); err != nil {
				return err
			}
		}
	})
	each(t, containers, func(_ int, c *lab.Container) error {
		err := lab.Eventually(t.Context(), "ADD of "+c.ID, func() error {
			_, err := c.Add(t.Context())
			return err
		})
		if err != nil {
			return err
		}
		h.take(c)
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		return remove(t, h, c)
	})
	close(stop)
	if err := killer.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, err := range h.errs {
		t.Error(err)
	}
	given := 0.0
	for _, node := range l.Nodes {
		n, err := node.Metric(t.Context(), "berth_gifts_total", "direction", "given")
		if err == nil {
			given += n
		}
	}
	t.Logf("agents were killed %d times; those that live have given %v parts since", kills, given)
	unowned(t, l)
	for _, node := range l.Nodes {
		deleteAll(t, fill(t, l, usable, func(int) *lab.Node { return node }))
	}
	unowned(t, l)
}
