package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

const (
	many    = 300
	callers = 16
)

// holders knows who has which address, and complains of two that have the same at once.
type holders struct {
	sync.Mutex
	by   map[netip.Addr]string
	errs []error
}

func (h *holders) take(c *lab.Container) {
	h.Lock()
	defer h.Unlock()
	if other, held := h.by[c.Address]; held && other != c.ID {
		h.errs = append(h.errs, fmt.Errorf("%s and %s both have %v", other, c.ID, c.Address))
	}
	h.by[c.Address] = c.ID
}

func (h *holders) leave(c *lab.Container) {
	h.Lock()
	defer h.Unlock()
	delete(h.by, c.Address)
}

// churn adds many containers by parallel plugin processes and deletes them again, a third of them while others are
// still being added. Each verb is repeated until it succeeds, as a runtime would.
func churn(t *testing.T, l *lab.Lab) {
	t.Helper()
	h := &holders{by: map[netip.Addr]string{}}
	containers := make([]*lab.Container, many)
	for i := range containers {
		node := l.Nodes[i%len(l.Nodes)]
		if i%10 == 0 {
			containers[i] = member(t, node, l, fmt.Sprintf("db-%d", i))
		} else {
			containers[i] = container(t, node, l, "BERTH_NAMESPACE", "shop", "BERTH_APP", fmt.Sprintf("web-%d", i%7))
		}
	}
	each(t, containers, func(i int, c *lab.Container) error {
		err := lab.Eventually(t.Context(), "ADD of "+c.ID, func() error {
			_, err := c.Add(t.Context())
			return err
		})
		if err != nil {
			return err
		}
		h.take(c)
		if i%3 != 0 {
			return nil
		}
		return remove(t, h, c)
	})
	rest := slices.DeleteFunc(slices.Clone(containers), func(c *lab.Container) bool { return !c.Address.IsValid() })
	if len(rest) != many-many/3 || len(h.by) != len(rest) {
		t.Errorf("%d containers hold %d addresses: want %d", len(rest), len(h.by), many-many/3)
	}
	each(t, rest, func(_ int, c *lab.Container) error { return remove(t, h, c) })
	for _, err := range h.errs {
		t.Error(err)
	}
}

// remove forgets the address before DEL, since DEL gives it free before it has answered.
func remove(t *testing.T, h *holders, c *lab.Container) error {
	h.leave(c)
	return lab.Eventually(t.Context(), "DEL of "+c.ID, func() error { return c.Delete(t.Context()) })
}

func each(t *testing.T, containers []*lab.Container, f func(int, *lab.Container) error) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(callers)
	for i, c := range containers {
		group.Go(func() error { return f(i, c) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// emptied waits until no container is left in etcd, journals or kernels but for reservations, which hold nobody.
func emptied(t *testing.T, l *lab.Lab, before lab.Census) {
	t.Helper()
	reservations, err := l.Etcd.Get(t.Context(), "/berth/v1/reservations/")
	if err != nil {
		t.Fatal(err)
	}
	for key := range reservations {
		if _, err := l.Nodes[0].Berthctl(t.Context(), "release", "--network", "berth", memberOf(t, reservations[key])); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	restores(t, l, before)
}

func TestThreeHundredContainersOnThreeNodesShareNoAddressAndLeaveNothing(t *testing.T) {
	l := newLab(t, 3, onePool)
	before := warm(t, l)
	churn(t, l)
	emptied(t, l, before)
}

func TestKillingAgentsAtRandomMomentsLosesAndLeaksNothing(t *testing.T) {
	l := newLab(t, 3, onePool)
	before := warm(t, l)
	stop := make(chan struct{})
	var killer errgroup.Group
	killer.Go(func() error {
		for kills := 0; ; kills++ {
			select {
			case <-stop:
				t.Logf("agents killed: %d", kills)
				return nil
			case <-time.After(time.Duration(100+rand.IntN(400)) * time.Millisecond):
			}
			node := l.Nodes[rand.IntN(len(l.Nodes))]
			if err := node.Kill(); err != nil {
				return err
			}
			if err := node.Start(t.Context()); err != nil {
				return err
			}
		}
	})
	churn(t, l)
	close(stop)
	if err := killer.Wait(); err != nil {
		t.Fatal(err)
	}
	emptied(t, l, before)
}

// warm gives every node its bridge, which stays, and counts then.
func warm(t *testing.T, l *lab.Lab) lab.Census {
	t.Helper()
	for _, node := range l.Nodes {
		c := container(t, node, l)
		add(t, c)
		del(t, c)
	}
	labtest.Eventually(t, "the first containers are gone", func() error {
		assignments, err := l.Etcd.Get(t.Context(), "/berth/v1/assignments/")
		if err == nil && len(assignments) > 0 {
			err = fmt.Errorf("%v are left", assignments)
		}
		return err
	})
	return census(t, l)
}

func TestAddRepeatedAfterItsCallerDiedGivesOneAddress(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	for i := range 40 {
		c := container(t, l.Nodes[0], l, "BERTH_APP", "web")
		dying, cancel := context.WithTimeout(t.Context(), time.Duration(500+100*i)*time.Microsecond)
		_, lost := c.Add(dying)
		cancel()
		had := addressIn(t, c)
		if lost == nil && had != c.Address {
			t.Errorf("ADD answered %v, and the container has %v", c.Address, had)
		}
		labtest.Eventually(t, "ADD again", func() error {
			_, err := c.Add(t.Context())
			return err
		})
		if had.IsValid() && had != c.Address {
			t.Errorf("ADD again gives %v: want %v, which the container has already", c.Address, had)
		}
		if got := addressIn(t, c); got != c.Address {
			t.Errorf("the container has %v: want %v", got, c.Address)
		}
		if err := attachments(t.Context(), l.Nodes[0], 1); err != nil {
			t.Error(err)
		}
		del(t, c)
	}
	restores(t, l, before)
}

// addressIn is the address that the container's interface has; zero: none.
func addressIn(t *testing.T, c *lab.Container) netip.Addr {
	t.Helper()
	found, err := c.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 1 {
		t.Errorf("%s has %v: want one address", c.ID, found)
	}
	if len(found) == 0 {
		return netip.Addr{}
	}
	return found[0].Addr()
}
