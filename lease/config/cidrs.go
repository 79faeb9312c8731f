package config

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A CIDRInUseError says why a CIDR cannot be removed from its pool.
type CIDRInUseError struct {
	CIDRs    []netip.Prefix
	Draining bool // nobody is given an address of them any more
	Use      *InUseError
}

func (e *CIDRInUseError) Error() string {
	what := "cidr"
	if len(e.CIDRs) > 1 {
		what = "cidrs"
	}
	words := fmt.Sprintf("lease: pool %q: %s %s cannot be removed while in use: %s: ", e.Use.Pool, what, listed(e.CIDRs), e.Use.words())
	if !e.Draining {
		return words + fmt.Sprintf("drain first, by \"{cidr: %s, drain: true}\" in the pool's cidrs, so that nobody is given an address "+
			"of it anew", e.CIDRs[0])
	}
	return words + "it is draining: end the containers, release the reservations (berthctl release), and apply again, or apply with --wait"
}

// guardCIDRs checks that nobody uses a CIDR that goes. Nobody gets anything of it meanwhile either, since claims and reservations compare
// the pool. What is left there of nodes' own addresses goes with it.
func (s *Editor) guardCIDRs(ctx context.Context, was, is *allocator.Pool) (guard, error) {
	gone := allocator.Gone(was, is)
	if len(gone) == 0 {
		return guard{}, nil
	}
	g, err := s.unusedWithin(ctx, was.Name, func(a netip.Addr) bool { return anyContains(gone, a) })
	if use, ok := errors.AsType[*InUseError](err); ok {
		return g, &CIDRInUseError{CIDRs: gone, Draining: was.DrainsAll(gone), Use: use}
	}
	if err != nil {
		return g, err
	}
	blocks, _, err := kv.List(ctx, s.kv, record.BlockCodec, was.Name)
	if err != nil {
		return g, err
	}
	for _, b := range blocks { // those of stateful ranges are freed after the change
		if anyContains(gone, b.Prefix.Addr()) && len(b.Machines()) > 0 {
			g.ops = append(g.ops, clientv3.OpDelete(s.kv.Keys.Block(was.Name, b.Prefix)))
		}
	}
	return g, nil
}

func listed(cidrs []netip.Prefix) string {
	text := fmt.Sprint(cidrs)
	return text[1 : len(text)-1]
}
