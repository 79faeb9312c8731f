package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A question is asked in each family.
type question struct {
	from *place
	at   func(v6 bool) netip.AddrPort
	to   *place // who is to answer
	as   *place // whose address the answering one is to see; nil: anybody's
}

// claim says that questions are answered, in each family of the pool.
func (s *story) claim(ctx context.Context, text string, questions ...question) {
	var errs []error
	for _, v6 := range s.versions() {
		for _, q := range questions {
			errs = append(errs, s.answered(ctx, q, v6))
		}
	}
	s.Check(text, errors.Join(errs...))
}

func (s *story) answered(ctx context.Context, q question, v6 bool) error {
	bounded, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	what := fmt.Sprintf("%s asks at %v for %s", q.from.name, q.at(v6), q.to.name)
	return lab.Eventually(bounded, what, func() error {
		who, seen, err := q.from.ask(ctx, q.at(v6))
		if err != nil {
			return err
		}
		if who != q.to.name {
			return fmt.Errorf("%s answers", who)
		}
		if q.as != nil && seen != q.as.of(v6) {
			return fmt.Errorf("it is asked by %v, and not by %v", seen, q.as.of(v6))
		}
		return nil
	})
}

// itself is a place's own address.
func itself(p *place) func(bool) netip.AddrPort {
	return func(v6 bool) netip.AddrPort { return netip.AddrPortFrom(p.of(v6), port) }
}

// direct is what holds without any Service.
func (s *story) direct(ctx context.Context) {
	asking, near, far := &s.asking.place, &s.near.place, &s.far.place
	s.claim(ctx, "containers see each other's own addresses",
		question{asking, itself(near), near, asking}, question{asking, itself(far), far, asking}, question{far, itself(near), near, far})
	s.claim(ctx, "and so does their host, which reaches them",
		question{asking, itself(s.first), s.first, asking}, question{s.first, itself(near), near, nil})
	if !s.alone {
		s.claim(ctx, "another node's host sees a container's own address, and reaches it",
			question{asking, itself(s.second), s.second, asking}, question{s.second, itself(near), near, nil})
	}
	seen, text := asking, "a machine outside sees a container's own address"
	if s.masquerade {
		seen, text = s.first, "a machine outside sees a container's node"
	}
	s.claim(ctx, text, question{asking, itself(s.outside), s.outside, seen})
	s.hostPorts(ctx, "")
}

// hostPorts is the port of the host that portmap has opened.
func (s *story) hostPorts(ctx context.Context, where string) {
	at := func(v6 bool) netip.AddrPort { return netip.AddrPortFrom(s.first.of(v6), hostPort) }
	published := &s.published.place
	for _, who := range []struct {
		text string
		from *place
	}{
		{"from a machine outside", s.outside}, {"from another node", s.second}, {"from its own node's host", s.first},
		{"from a container of its node", &s.asking.place}, {"from itself", published},
	} {
		s.claim(ctx, "hostPort "+who.text+where, question{who.from, at, published, nil})
	}
	if !s.alone {
		s.claim(ctx, "hostPort from a container of another node"+where, question{&s.far.place, at, published, nil})
	}
}

// served is what holds with Services.
func (s *story) served(ctx context.Context, proxy string) {
	with := " (" + proxy + ")"
	asking, near, far := &s.asking.place, &s.near.place, &s.far.place
	cluster := func(to *container) func(bool) netip.AddrPort {
		return func(v6 bool) netip.AddrPort { return s.services[key{to, v6, false}].cluster() }
	}
	on := func(node *place, to *container, local bool) func(bool) netip.AddrPort {
		return func(v6 bool) netip.AddrPort { return s.services[key{to, v6, local}].on(node.of(v6)) }
	}
	s.claim(ctx, "Service: endpoint on the same node, which sees the container's own address"+with,
		question{asking, cluster(s.near), near, asking})
	s.claim(ctx, "Service: the endpoint itself"+with, question{near, cluster(s.near), near, nil}, question{far, cluster(s.far), far, nil})
	s.claim(ctx, "Service: from the endpoint's host"+with, question{s.first, cluster(s.near), near, nil})
	s.claim(ctx, "NodePort from the host itself"+with, question{s.first, on(s.first, s.near, false), near, nil})
	s.claim(ctx, "NodePort from a container of the node"+with, question{asking, on(s.first, s.near, false), near, nil})
	s.claim(ctx, "NodePort from the endpoint itself"+with, question{near, on(s.first, s.near, false), near, nil})
	s.claim(ctx, "NodePort from another node"+with, question{s.second, on(s.first, s.near, false), near, nil})
	s.claim(ctx, "NodePort from outside"+with, question{s.outside, on(s.first, s.near, false), near, nil})
	s.claim(ctx, "externalTrafficPolicy Local: the endpoint sees who asks from outside"+with,
		question{s.outside, on(s.first, s.near, true), near, s.outside}, question{s.second, on(s.first, s.near, true), near, s.second})
	if s.alone {
		return
	}
	s.claim(ctx, "Service: endpoint on another node, which sees the container's own address"+with,
		question{asking, cluster(s.far), far, asking}, question{far, cluster(s.near), near, far})
	s.claim(ctx, "Service: from another node's host"+with,
		question{s.second, cluster(s.near), near, nil}, question{s.first, cluster(s.far), far, nil})
	s.claim(ctx, "NodePort whose endpoint is on another node"+with,
		question{s.outside, on(s.first, s.far, false), far, nil}, question{s.second, on(s.first, s.far, false), far, nil},
		question{s.outside, on(s.second, s.near, false), near, nil}, question{asking, on(s.second, s.near, false), near, nil})
	s.claim(ctx, "externalTrafficPolicy Local on the other node"+with, question{s.outside, on(s.second, s.far, true), far, s.outside})
}

// proxied has each node's kube-proxy serve in one of its modes.
func (s *story) proxied(ctx context.Context, proxy string) error {
	var all []*daemon
	defer func() {
		for _, d := range all {
			d.stop()
		}
	}()
	for _, n := range s.lab.Nodes {
		d, err := startProxy(s.api, n, s.built, proxy, s.cidrs)
		if err != nil {
			return err
		}
		all = append(all, d)
	}
	s.served(ctx, proxy)
	s.hostPorts(ctx, " ("+proxy+")")
	for _, d := range all {
		if d.ended() {
			return fmt.Errorf("it has ended: %s", d.says())
		}
	}
	return nil
}
