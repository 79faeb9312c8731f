package connectivity

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops/echo"
)

const (
	tries   = 3           // of an echo, before it counts as lost
	waits   = time.Second // for the answer of each
	atOnce  = 16          // ways that are asked at a time
	onWire  = 3           // questions on the wire that take about as long
	minimal = 64          // bytes of the first packet: if it does not pass, none does
)

// askAtHome sees whether a container and its own node reach each other.
func (p *part) askAtHome(ctx context.Context, one *probe) {
	for _, a := range one.record.Addresses {
		one.record.Steps = append(one.record.Steps, p.askFromHost(ctx, record.StepOwn, one, a, one.record.MTU))
	}
	if one.record.Uplink != "" {
		return // the network's router is the gateway, and need not answer
	}
	for _, gateway := range one.gateways {
		one.record.Steps = append(one.record.Steps, p.ask(ctx, record.StepGateway, echo.Request{From: one.ns, Link: iface, To: gateway},
			one.record.MTU))
	}
}

// askAll asks the other nodes' containers from inside of this node's, for as long as the check allows.
func (p *part) askAll(ctx context.Context, probes []*probe) []record.CheckResult {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.check.Ask))
	defer cancel()
	var all []record.CheckResult
	var asking sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	var mu sync.Mutex
	for _, w := range p.ways(probes) {
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			steps := p.askWay(ctx, w)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, record.CheckResult{Pool: w.from.record.Pool, Node: w.peer.Node, Steps: steps})
		})
	}
	asking.Wait()
	return all
}

// A way leads from a container of this node to an address of another's.
type way struct {
	from *probe
	peer record.CheckPeer
	to   netip.Addr
	mtu  int // that both ends have
}

// ways are all that are to be asked.
func (p *part) ways(probes []*probe) (all []way) {
	for _, one := range probes {
		if one.ns == nil {
			continue
		}
		for _, peer := range p.check.Peers {
			if peer.Node == p.Name {
				continue
			}
			for _, other := range peer.Probes {
				if other.Pool != one.record.Pool || one.record.Apart(other) != "" {
					continue
				}
				for _, a := range other.Addresses {
					all = append(all, way{one, peer, a, min(one.record.MTU, other.MTU)})
				}
			}
		}
	}
	return all
}

// askWay asks over the whole way, and where that fails over its parts.
func (p *part) askWay(ctx context.Context, w way) []record.CheckStep {
	whole := p.ask(ctx, record.StepWhole, echo.Request{From: w.from.ns, Link: iface, To: w.to}, w.mtu)
	steps := []record.CheckStep{whole}
	if whole.State == record.CheckOK {
		return steps
	}
	for _, hop := range w.peer.Hops {
		if allocator.FamilyOf(hop) == allocator.FamilyOf(w.to) {
			steps = append(steps, p.ask(ctx, record.StepNode, echo.Request{To: hop}, w.mtu))
		}
	}
	return append(steps, p.askFromHost(ctx, record.StepContainer, w.from, w.to, w.mtu))
}

// askFromHost sees whether the host reaches a container of the pool. Where that has an uplink a container's answers to the host may
// go by the network's router, which need not know the way: there the wire is asked, as it is by ARP and neighbour discovery.
func (p *part) askFromHost(ctx context.Context, step string, one *probe, to netip.Addr, full int) record.CheckStep {
	if one.record.Uplink == "" {
		return p.ask(ctx, step, echo.Request{To: to}, full)
	}
	s := record.CheckStep{Step: step, To: to, State: record.CheckLost, Full: full}
	for range tries * onWire {
		found, err := p.kernel.Probe(ctx, one.container.Bridge, []netip.Addr{to})
		switch {
		case found[to] != nil:
			s.State, s.Reason = record.CheckOK, ""
			return s
		case ctx.Err() != nil:
			s.State = record.CheckUnsent
			return s
		case err != nil:
			s.Reason = err.Error()
		default:
			s.Reason = "to ARP and neighbour discovery"
		}
	}
	return s
}

// ask sees whether packets pass over a part of the way: small ones, then those that fill the MTU. Where only smaller ones do it finds
// out how large they may be.
func (p *part) ask(ctx context.Context, step string, r echo.Request, full int) record.CheckStep {
	r.Tries, r.Wait, r.Size = tries, waits, minimal
	s := record.CheckStep{Step: step, To: r.To, State: record.CheckOK, Full: full}
	if err := p.kernel.Echo(ctx, r); err != nil {
		s.State, s.Reason = record.CheckLost, reasonOf(err)
		if ctx.Err() != nil {
			s.State = record.CheckUnsent
		}
		return s
	}
	r.Size = full
	err := p.kernel.Echo(ctx, r)
	if err == nil {
		return s
	}
	s.State, s.Reason = record.CheckMTU, reasonOf(err)
	s.MTU = largest(minimal, full, err, func(size int) error {
		r.Size = size
		return p.kernel.Echo(ctx, r)
	})
	if ctx.Err() != nil {
		s.State = record.CheckUnsent
	}
	return s
}

// reasonOf is what somebody said of an echo that did not come; empty: nobody said anything.
func reasonOf(err error) string {
	if refused, ok := errors.AsType[*echo.RefusedError](err); ok {
		return refused.Error()
	}
	if tooBig, ok := errors.AsType[*echo.TooBigError](err); ok {
		return tooBig.Error()
	}
	if errors.Is(err, echo.ErrNoAnswer) {
		return ""
	}
	return err.Error()
}

// largest finds the largest size that passes, where one passes and a larger one failed with an error. What somebody on the way says
// would pass is tried first, and then whether one byte more does.
func largest(passes, fails int, failed error, try func(size int) error) int {
	for passes+1 < fails {
		size := (passes + fails) / 2
		if tooBig, ok := errors.AsType[*echo.TooBigError](failed); ok && passes <= tooBig.MTU && tooBig.MTU < fails {
			size = max(tooBig.MTU, passes+1)
		}
		if err := try(size); err != nil {
			fails, failed = size, err
		} else {
			passes = size
		}
	}
	return passes
}
