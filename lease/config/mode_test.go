package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// routed is a pool in routed mode, which has no gateways.
func routed(pool allocator.Pool) allocator.Pool {
	pool.Mode, pool.Gateways = allocator.Routed, nil
	return pool
}

func TestAModeChangesOnlyWhileNobodyUsesThePool(t *testing.T) {
	for name, pools := range map[string][2]allocator.Pool{
		"flat to routed": {lab.Smallest(), routed(lab.Smallest())},
		"routed to flat": {routed(lab.Smallest()), lab.Smallest()},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			base, next := l.Apply(s, pools[0]), pools[1]
			x := l.Join(s, "n1")
			_, err := l.OwnAddress(x, base, "10.42.32.9", false) // a node's own address is no use of the pool
			l.Check(err)

			b := l.Claims(x, base, "10.42.16.0/26") // in which no container has an address
			refusedFor(l, s, lab.With(base, next), "from mode "+name[:4], "block 10.42.16.0/26 of node n1", "remove pool default --drain",
				"another pool")
			l.Check(lab.Second(block.Release(t.Context(), x.Session, b, b.Prefix)))
			member := lab.Identity("db", 0)
			l.Check(l.Reserves(s, base, member, "10.42.0.5"))
			refusedFor(l, s, lab.With(base, next), "10.42.0.5 for "+member.String())
			_, err = s.Reservations.End(t.Context(), member, false)
			l.Check(err)

			after, err := s.Editor.Apply(t.Context(), base, lab.With(base, next), config.Note{})
			l.Check(err)
			if now := currentConfig(l, s).Pools["default"]; now.Mode != next.Mode || !slices.Equal(now.Gateways, next.Gateways) {
				t.Errorf("the pool is %+v", now)
			}
			if l.MachineOf(s, "10.42.32.9") != "n1" {
				t.Error("the node has lost its own address")
			}
			l.Check(l.Reserves(s, after, member, "10.42.0.5"))
			if _, err := block.Claim(t.Context(), x.Session, "default", base.PoolRevisions["default"], b.Prefix); !errors.Is(err,
				record.ErrStaleConfig) {
				t.Errorf("a claim by the former mode: %v", err)
			}
		})
	}
}

// A mode changes while a node claims or a member is reserved an address: nobody has anything of a pool whose mode has changed.
func TestAChangeOfModeAndAClaimOrReservationNeverBothWin(t *testing.T) {
	l := lab.New(t)
	for round := range 20 {
		name := fmt.Sprint("p", round)
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(round), 0, 0}), 24)
		pool := allocator.Pool{Name: name, CIDRs: []netip.Prefix{cidr}}.WithDefaults()
		pool.Stateful = []netip.Prefix{netip.PrefixFrom(cidr.Addr(), 26)}
		s, other := l.Store(), l.Store()
		base := l.Apply(s, pool)
		x := l.Join(other, "n1")
		var used, changed error
		var wait sync.WaitGroup
		wait.Go(func() {
			if round%2 == 0 {
				stateless := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(round), 0, 64}), 26)
				_, used = block.Claim(t.Context(), x.Session, name, base.PoolRevisions[name], stateless)
				return
			}
			_, used = other.Reservations.ReserveFor(t.Context(), base.Pools[name], base.PoolRevisions[name], lab.Identity(name, 0), nil)
		})
		wait.Go(func() {
			_, changed = s.Editor.Apply(t.Context(), base, lab.With(base, routed(pool)), config.Note{})
		})
		wait.Wait()
		_, refused := errors.AsType[*config.ModeError](changed)
		if (used == nil) == (changed == nil) || used != nil && !errors.Is(used, record.ErrStaleConfig) || changed != nil && !refused {
			t.Fatalf("round %d: in use: %v; changed: %v", round, used, changed)
		}
		if now := currentConfig(l, s).Pools[name]; now.Layer3() != (changed == nil) {
			t.Fatalf("round %d: the mode is %v, and the change: %v", round, now.Mode, changed)
		}
	}
}

func TestNothingComesBetweenALookAndAChangeOfMode(t *testing.T) {
	for name, use := range map[string]func(l *lab.Lab, s *lab.Store, base *config.Config){
		"a claim": func(l *lab.Lab, s *lab.Store, base *config.Config) { l.Claims(l.Join(s, "n1"), base, "10.42.16.0/26") },
		"a reservation": func(l *lab.Lab, s *lab.Store, base *config.Config) {
			l.Check(l.Reserves(s, base, lab.Identity("db", 0), "10.42.0.5"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			base := l.Apply(s, lab.Smallest())
			l.Check(l.Reserves(s, base, lab.Identity("db", 1), "10.42.0.6")) // so that its block is there
			_, err := s.Reservations.End(t.Context(), lab.Identity("db", 1), false)
			l.Check(err)
			next := lab.With(base, routed(lab.Smallest()))
			g, err := s.Editor.Guard(t.Context(), base, next, []string{"default"})
			l.Check(err)
			use(l, s, base)
			c := config.ChangeOf(base, next, config.Note{}, g, "default")
			if _, moved, err := s.Editor.CommitOnce(t.Context(), c, time.Now()); err != nil || !moved {
				t.Errorf("it went through: %v", err)
			}
		})
	}
}

func TestTheGatewayOfAPoolThatBecomesRoutedIsAFormerOne(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	l.Join(s, "n1") // has not taken it off
	after := l.Apply(s, routed(lab.Smallest()))
	pool := after.Pools["default"]
	if len(after.Former) != 1 || after.Former[0].Address != base.Pools["default"].Gateways[0] || pool.Usable(lab.Addr("10.42.0.1")) {
		t.Errorf("former gateways are %+v", after.Former)
	}
	if !pool.Usable(lab.Addr("10.42.0.0")) || !pool.Usable(lab.Addr("10.42.255.255")) {
		t.Error("the ends of the CIDR are not usable")
	}
	if back := l.Apply(s, lab.Smallest()); len(back.Former) > 0 { // in which the gateways of routed pools are no former ones
		t.Errorf("former gateways are %+v", back.Former)
	}
}

// Nobody has anything of a pool whose mode changes, so that no node is waited for. A node's own address is no gateway in this case either.
func TestTheGatewayOfAPoolThatBecomesFlatIsOneChange(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, routed(lab.Smallest()))
	x := l.Join(s, "n1")
	_, err := l.OwnAddress(x, base, "10.42.32.9", false)
	l.Check(err)
	if n, err := s.Editor.Plan(t.Context(), base, lab.With(base, lab.Smallest())); err != nil || n != 1 {
		t.Errorf("it takes %d changes, %v", n, err)
	}
	own := lab.Smallest()
	own.Gateways[0] = lab.Addr("10.42.32.9")
	refusedFor(l, s, lab.With(base, own), "10.42.32.9", "an address of node n1 itself")
}

func TestARollbackToAnotherModeIsAChangeOfMode(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Apply(s, lab.Smallest())
	base := l.Apply(s, routed(lab.Smallest()))
	x := l.Join(s, "n1")
	b := l.Claims(x, base, "10.42.16.0/26")
	then, err := s.Editor.At(t.Context(), 1)
	l.Check(err)
	_, _, tried := s.Editor.Restorable(t.Context(), base, then)
	_, _, done := s.Editor.Restore(t.Context(), base, then, config.Note{})
	for _, err := range []error{tried, done} {
		if use, ok := errors.AsType[*config.ModeError](err); !ok || use.To != allocator.Flat || use.Use.Blocks != 1 {
			t.Errorf("the error is %v", err)
		}
	}
	l.Check(lab.Second(block.Release(t.Context(), x.Session, b, b.Prefix)))
	after, _, err := s.Editor.Restore(t.Context(), base, then, config.Note{})
	l.Check(err)
	if pool := after.Pools["default"]; pool.Layer3() || len(pool.Gateways) != 1 {
		t.Errorf("the pool is %+v", pool)
	}
}

func TestIPMasqChangesUnderContainers(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, routed(lab.Smallest()))
	l.Claims(l.Join(s, "n1"), base, "10.42.16.0/26")
	pool := routed(lab.Smallest())
	pool.IPMasq = true
	if after := l.Apply(s, pool); !after.Pools["default"].IPMasq {
		t.Error("it is not masqueraded")
	}
}

func TestAPoolThatSaysNothingOfItsModeIsCalledFlat(t *testing.T) {
	base := lab.With(&config.Config{}, lab.Smallest())
	changes := config.Diff(base, lab.With(base, routed(lab.Smallest())))
	words := make([]string, len(changes))
	for i, c := range changes {
		words[i] = c.String()
	}
	if want := "pool default: mode: flat -> routed"; !slices.Contains(words, want) {
		t.Errorf("the difference is %v, want one with %q", words, want)
	}
	for _, c := range config.Diff(&config.Config{}, base) {
		if c.Field == "mode" {
			t.Errorf("a new flat pool has %v", c)
		}
	}
}

func TestNoPoolHasTheGatewayOfRoutedOnes(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	link := lab.Small()
	link.CIDRs, link.Stateful, link.Exclude = []netip.Prefix{lab.Prefix("169.254.0.0/16")}, nil, nil
	base := l.Apply(s, link)
	_, err := s.Editor.Apply(t.Context(), base, lab.With(base, routed(lab.Smallest())), config.Note{})
	if err == nil || !strings.Contains(err.Error(), `169.254.1.1, lies in pool "small"`) {
		t.Errorf("the error is %v", err)
	}
	six := routed(lab.Smallest())
	six.CIDRs, six.Stateful = []netip.Prefix{lab.Prefix("fd00:42::/64")}, nil
	l.Apply(s, six) // has no gateway of IPv4
}

// Between the modes in which containers are behind their nodes nothing changes in a container that could not change while it runs.
func TestModesOfContainersBehindTheirNodesChangeUnderThem(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, routed(lab.Smallest()))
	x := l.Join(s, "n1")
	l.Claims(x, base, "10.42.16.0/26")
	l.Check(l.Reserves(s, base, lab.Identity("db", 0), "10.42.0.5"))
	for _, mode := range []allocator.Mode{allocator.VXLAN, allocator.Auto, allocator.Routed, allocator.Auto, allocator.VXLAN} {
		pool := routed(lab.Smallest())
		pool.Mode = mode
		l.Apply(s, pool)
		if now := currentConfig(l, s).Pools["default"]; now.Mode != mode {
			t.Fatalf("the mode is %v, want %v", now.Mode, mode)
		}
	}
	refusedFor(l, s, lab.With(currentConfig(l, s), lab.Smallest()), "from mode vxlan to flat", "block 10.42.16.0/26 of node n1")
}

// A claim goes through before such a change or is refused by it; the change goes through either way.
func TestAChangeBetweenModesBehindNodesPassesAClaim(t *testing.T) {
	l := lab.New(t)
	s, other := l.Store(), l.Store()
	x := l.Join(other, "n1")
	for round := range 20 {
		name := fmt.Sprint("p", round)
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(round), 0, 0}), 24)
		pool := routed(allocator.Pool{Name: name, CIDRs: []netip.Prefix{cidr}}.WithDefaults())
		base := l.Apply(s, pool)
		next := pool
		next.Mode = allocator.Auto
		var claimed, changed error
		var wait sync.WaitGroup
		wait.Go(func() {
			_, claimed = block.Claim(t.Context(), x.Session, name, base.PoolRevisions[name], netip.PrefixFrom(cidr.Addr(), 26))
		})
		wait.Go(func() { _, changed = s.Editor.Apply(t.Context(), base, lab.With(base, next), config.Note{}) })
		wait.Wait()
		if changed != nil || claimed != nil && !errors.Is(claimed, record.ErrStaleConfig) {
			t.Fatalf("round %d: claimed: %v; changed: %v", round, claimed, changed)
		}
		if now := currentConfig(l, s).Pools[name]; now.Mode != allocator.Auto {
			t.Fatalf("round %d: the mode is %v", round, now.Mode)
		}
	}
}
