package config_test

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// withCIDRs is the smallest pool of a configuration with other CIDRs, and no stateful range.
func withCIDRs(cidrs ...string) allocator.Pool {
	pool := lab.Smallest()
	pool.CIDRs, pool.Stateful, pool.Gateways = nil, nil, nil
	for _, c := range cidrs {
		pool.CIDRs = append(pool.CIDRs, lab.Prefix(c))
	}
	return pool
}

func TestACIDRIsAddedAndGrowsWhileContainersRun(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	pool := withCIDRs("10.42.1.0/24")
	pool.Gateways = []netip.Addr{lab.Addr("10.42.1.1")}
	base := l.Apply(s, pool)
	l.Claims(l.Join(s, "n1"), base, "10.42.1.64/26")

	grown := withCIDRs("10.42.0.0/23", "10.43.0.0/24", "fd00::/64")
	grown.Gateways = []netip.Addr{lab.Addr("10.42.1.1"), lab.Addr("10.43.0.1")}
	after := l.Apply(s, grown)
	now := currentConfig(l, s)
	if got := now.Pools["default"].CIDRs; !slices.Equal(got, grown.CIDRs) || now.Revision != after.Revision {
		t.Errorf("the CIDRs are %v", got)
	}
	other := withCIDRs("10.43.0.128/25")
	other.Name = "other"
	refusedFor(l, s, lab.With(currentConfig(l, s), other), `pool "other"`, `pool "default"`, "overlap")
}

func TestTheFormerEndsOfAGrownCIDRAreGivenToNobodyUntilEveryNodeHasAppliedIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, withCIDRs("10.42.1.0/24"))
	n1, n2 := l.Join(s, "n1"), l.Join(s, "n2")
	reportStatus(l, n1, base.Revision)
	reportStatus(l, n2, base.Revision)
	after := l.Apply(s, withCIDRs("10.42.0.0/22"))
	usable := func(c *config.Config) (all []bool) {
		p := c.Pools["default"]
		for _, a := range []string{"10.42.1.0", "10.42.1.255", "10.42.0.255", "10.42.0.0"} {
			all = append(all, p.Usable(lab.Addr(a)))
		}
		return all
	}
	for _, c := range []*config.Config{after, currentConfig(l, s)} {
		if got := usable(c); !slices.Equal(got, []bool{false, false, true, false}) {
			t.Errorf("usable are %v", got)
		}
	}
	reportStatus(l, n1, after.Revision)
	if freed, err := s.Former.Free(t.Context(), config.Note{}); freed != 0 || err != nil {
		t.Errorf("while a node has not applied it %d are freed, %v", freed, err)
	}
	reportStatus(l, n2, after.Revision)
	free(l, s)
	if got := usable(currentConfig(l, s)); !slices.Equal(got, []bool{true, true, true, false}) {
		t.Errorf("when all have applied it usable are %v", got)
	}
}

func TestACIDRIsRemovedOnlyWhenNobodyUsesIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	pool := withCIDRs("10.42.0.0/24", "10.43.0.0/24")
	pool.Stateful = []netip.Prefix{lab.Prefix("10.43.0.0/26")}
	base := l.Apply(s, pool)
	x := l.Join(s, "n1")
	next := withCIDRs("10.42.0.0/24")
	b := l.Claims(x, base, "10.43.0.64/26")
	_, err := l.OwnAddress(x, base, "10.43.0.200", false) // a node's own address is no use of it
	l.Check(err)
	l.Claims(x, base, "10.42.0.64/26") // nor is another CIDR's block
	refusedFor(l, s, lab.With(base, next), "cidr 10.43.0.0/24 cannot be removed while in use", "block 10.43.0.64/26 of node n1",
		"drain first", "{cidr: 10.43.0.0/24, drain: true}")
	member := lab.Identity("db", 0)
	l.Check(l.Reserves(s, base, member, "10.43.0.5"))

	pool.DrainingCIDRs = []netip.Prefix{lab.Prefix("10.43.0.0/24")}
	base = l.Apply(s, pool)
	if err := l.Reserves(s, base, lab.Identity("db", 1), "10.43.0.6"); err == nil {
		t.Error("an address of a draining CIDR is reserved")
	}
	l.Check(lab.Second(block.Release(t.Context(), x.Session, b, b.Prefix)))
	refusedFor(l, s, lab.With(base, next), "1 reservation", "10.43.0.5 for "+member.String(), "it is draining", "berthctl release")
	_, err = s.Reservations.End(t.Context(), member, false)
	l.Check(err)
	after := l.Apply(s, next)
	if got := after.Pools["default"].CIDRs; !slices.Equal(got, next.CIDRs) {
		t.Errorf("the CIDRs are %v", got)
	}
	left, err := s.Blocks.List(t.Context())
	l.Check(err)
	if len(left) != 1 || left[0].Prefix != lab.Prefix("10.42.0.64/26") {
		t.Errorf("left are the blocks %+v", left)
	}
	if _, err := block.Claim(t.Context(), x.Session, "default", base.PoolRevisions["default"], b.Prefix); !errors.Is(err,
		record.ErrStaleConfig) {
		t.Errorf("a claim by the former configuration: %v", err)
	}
}

// Whoever is first, no block is claimed of a CIDR that is gone, and no CIDR goes of which a block is claimed.
func TestAClaimAndTheRemovalOfItsCIDRExcludeEachOther(t *testing.T) {
	l := lab.New(t)
	s, agent := l.Store(), l.Store()
	x := l.Join(agent, "n1")
	for range 20 {
		base := l.Apply(s, withCIDRs("10.42.0.0/24", "10.43.0.0/24"))
		var removed, claimed error
		var b record.Block
		var wait sync.WaitGroup
		wait.Go(func() {
			_, removed = s.Editor.Apply(t.Context(), base, lab.With(base, withCIDRs("10.42.0.0/24")), config.Note{})
		})
		wait.Go(func() {
			b, claimed = block.Claim(t.Context(), x.Session, "default", base.PoolRevisions["default"], lab.Prefix("10.43.0.64/26"))
		})
		wait.Wait()
		_, inUse := errors.AsType[*config.CIDRInUseError](removed)
		if (removed == nil) == (claimed == nil) || removed != nil && !inUse || claimed != nil && !errors.Is(claimed, record.ErrStaleConfig) {
			t.Fatalf("the removal: %v; the claim: %v", removed, claimed)
		}
		if claimed == nil {
			l.Check(lab.Second(block.Release(t.Context(), x.Session, b, b.Prefix)))
		}
	}
}

func TestAPoolGetsASecondFamilyAndLosesIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	one, both := withCIDRs("10.42.0.0/24"), withCIDRs("10.42.0.0/24", "fd00::/64")
	l.Apply(s, one)
	l.Apply(s, both)
	both.DrainingCIDRs = both.CIDRs[1:]
	l.Apply(s, both)
	if after := l.Apply(s, one); len(after.Pools["default"].CIDRs) != 1 {
		t.Errorf("the pool is %+v", after.Pools["default"])
	}
}

func TestAPoolWithOneCIDRIsWrittenAsFormerReleasesReadIt(t *testing.T) {
	if got, want := kv.Encode(withCIDRs("10.42.0.0/24")), `{"name":"default","cidrs":["10.42.0.0/24"],"blockSize":{"v4":26,"v6":122},`+
		`"reuse":"10m0s","cooldown":"30s"}`; got != want {
		t.Errorf("it is written as %s", got)
	}
}
