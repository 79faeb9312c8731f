package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// at random does two things, each after a pause of its own.
func (s *teller) atRandom(one, other func()) {
	var both sync.WaitGroup
	for _, f := range []func(){one, other} {
		both.Go(func() { s.pause(300 * time.Millisecond); f() })
	}
	both.Wait()
}

// gatewayOntoAReservation moves the gateway onto a member's address, while the member is answered again, ends, moves to the other
// node, or ends and is released. It reports how often the gateway has moved, which only the last allows.
func (s *teller) gatewayOntoAReservation() (moved int, err error) {
	member := s.round + "-r"
	c, err := s.added(s.node, member)
	if err != nil {
		return 0, err
	}
	address := c.Address
	runs := c // who is to have the address in the end; nil: nobody
	var applied, other error
	var out string
	happens := []func() error{
		func() error { _, err := c.Container.Add(s.ctx); return err },
		func() error { runs = nil; return c.Del(s.ctx) },
		func() error {
			if err := c.Delete(s.ctx); err != nil {
				return err
			}
			runs, err = s.added(s.haven, member)
			return err
		},
		func() error {
			runs = nil
			err := c.Del(s.ctx)
			if err == nil {
				_, err = s.haven.Berthctl(s.ctx, "release", "shop/db/"+member)
			}
			return err
		},
	}
	what := rand.IntN(len(happens))
	released := what == len(happens)-1
	s.atRandom(func() { out, applied = s.configure(address, wholeRange) }, func() { other = happens[what]() })
	switch {
	case other != nil:
		return 0, fmt.Errorf("case %d: %w", what, other)
	case applied == nil && !released:
		return 0, fmt.Errorf("case %d: the gateway has moved onto %v, which is reserved for member %s: %s", what, address, member, out)
	case applied != nil && !strings.Contains(applied.Error()+out, address.String()):
		return 0, fmt.Errorf("the refusal does not name %v: %w: %s", address, applied, out)
	case applied == nil:
		moved = 1
	}
	if runs == nil {
		if runs, err = s.added(s.haven, member); err != nil {
			return moved, err
		}
	}
	switch {
	case moved == 1 && runs.Address == address:
		return moved, fmt.Errorf("%v is the gateway, and is given to member %s", address, member)
	case !released && runs.Address != address:
		return moved, fmt.Errorf("case %d: member %s had %v and has %v", what, member, address, runs.Address)
	}
	if err := errors.Join(s.lives(runs), s.tower.twice(address), runs.Delete(s.ctx)); err != nil {
		return moved, err
	}
	_, err = s.haven.Berthctl(s.ctx, "release", "shop/db/"+member)
	return moved, errors.Join(err, s.tower.twice(address), c.Remove(), s.back())
}

// gatewayOntoANode moves the gateway onto an address that a node itself has, while the node's agent is killed and started, while a
// container asks for it, while the node gets it, or while the node loses it. It reports how often the gateway has moved, which only
// the last two allow.
func (s *teller) gatewayOntoANode() (moved int, err error) {
	address, err := s.untaken()
	if err != nil {
		return 0, err
	}
	asks, err := s.lodger(s.haven, "", "IP", address.String()+"/16")
	if err != nil {
		return 0, err
	}
	happens := []func() error{
		func() error { return errors.Join(s.node.Kill(), s.node.Start(s.ctx)) },
		func() error {
			if _, err := asks.Add(s.ctx); err == nil {
				return fmt.Errorf("%v is node %s's own, and is given to %s", address, s.node.Name, asks.ID)
			}
			return nil
		},
		func() error { return s.gives(address) },
		s.takes,
	}
	what := rand.IntN(len(happens))
	changes := what >= 2
	if what != 2 {
		if err := s.gives(address); err != nil {
			return 0, err
		}
		err := lab.Eventually(s.ctx, fmt.Sprintf("%v is node %s's own", address, s.node.Name), func() error { return s.owned(address) })
		if err := errors.Join(err, s.answers(address)); err != nil {
			return 0, err
		}
	}
	var applied, other error
	var out string
	s.atRandom(func() { out, applied = s.configure(address, wholeRange) }, func() { other = happens[what]() })
	switch {
	case other != nil:
		return 0, fmt.Errorf("case %d: %w", what, other)
	case applied == nil && !changes:
		return 0, fmt.Errorf("case %d: the gateway has moved onto %v, which node %s itself has: %s", what, address, s.node.Name, out)
	case applied == nil:
		moved = 1
		if s.owned(address) == nil {
			return moved, fmt.Errorf("case %d: %v is the gateway, and node %s's own", what, address, s.node.Name)
		}
	case !strings.Contains(applied.Error()+out, "node "+s.node.Name+" itself"):
		return 0, fmt.Errorf("case %d: the refusal does not name node %s: %w: %s", what, s.node.Name, applied, out)
	}
	if what != 3 {
		err = errors.Join(s.answers(address), s.takes())
	}
	return moved, errors.Join(err, s.tower.twice(address), asks.Delete(s.ctx), s.back())
}

// untaken is an address of the stateful range, or of what any container may have, that nobody has.
func (s *teller) untaken() (a netip.Addr, err error) {
	for range 100 {
		a = netip.AddrFrom4([4]byte{10, 42, []byte{7, 250}[rand.IntN(2)], byte(2 + rand.IntN(250))})
		reserved, err := s.lab.Etcd.Get(s.ctx, "/berth/v1/reservations/default/"+a.String())
		if err != nil {
			return a, err
		}
		if len(reserved) == 0 && s.owned(a) != nil {
			return a, nil
		}
	}
	return a, errors.New("no address is free")
}

// owned is nil where etcd has an address as a node's own.
func (s *teller) owned(a netip.Addr) error {
	block := netip.PrefixFrom(a, 26).Masked().Addr()
	found, err := s.lab.Etcd.Get(s.ctx, "/berth/v1/blocks/default/"+block.String())
	if err != nil {
		return err
	}
	for _, text := range found {
		var record struct {
			Parts []struct {
				Prefix netip.Prefix
				Owner  string
			}
		}
		if err := json.Unmarshal([]byte(text), &record); err != nil {
			return err
		}
		for _, p := range record.Parts {
			if p.Owner == "machine" && p.Prefix.Contains(a) {
				return nil
			}
		}
	}
	return fmt.Errorf("it is not: %v", found)
}

// gives makes an address the node's own, on a link of its own.
func (s *teller) gives(a netip.Addr) error {
	return sandbox.Within(s.node.Netns(), func() error {
		own := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "own0", Flags: net.FlagUp}}
		if err := netlink.LinkAdd(own); err != nil {
			return err
		}
		return netlink.AddrAdd(own, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}})
	})
}

// takes takes it off the node again.
func (s *teller) takes() error {
	return sandbox.Within(s.node.Netns(), func() error { return onLink("own0", netlink.LinkDel) })
}

// answers waits until the network hears the node at an address.
func (s *teller) answers(a netip.Addr) error {
	var mac check.MAC
	err := sandbox.Within(s.node.Netns(), func() error {
		return onLink("berth0", func(l netlink.Link) error { copy(mac[:], l.Attrs().HardwareAddr); return nil })
	})
	if err != nil {
		return err
	}
	return s.tower.speaks(s.ctx, a, mac)
}
