package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/target"
)

const hostPort = 18080

// A container is a place on a node.
type container struct {
	place
	node string
}

// A story is one arrangement, and who is in it.
type story struct {
	arrangement
	tools
	*target.Claims
	patience time.Duration

	lab               *lab.Lab
	api               *api
	first, second     *place     // the nodes' hosts
	outside           *place     // a machine that is no node
	near, far         *container // endpoints: on the first node, and on the second where the mode has containers there
	asking, published *container // on the first node; the latter has a port of the host
	services          map[key]service
	listeners         []net.Listener
}

// A key names a Service by its endpoint.
type key struct {
	to        *container
	v6, local bool
}

// tell makes the arrangement, and has each of the proxies serve it in turn.
func tell(ctx context.Context, s *story, proxies []string) (err error) {
	if s.lab, err = lab.New(ctx, s.options(s.berth)); err != nil {
		return err
	}
	defer func() {
		for _, l := range s.listeners {
			l.Close()
		}
		if err != nil && ctx.Err() == nil {
			fmt.Printf("The logs end so:\n%s", s.lab.Logs(15))
		}
		err = errors.Join(err, s.lab.Close())
	}()
	if err := errors.Join(forward(), s.configure(ctx)); err != nil {
		return err
	}
	if err := s.people(ctx); err != nil {
		return err
	}
	s.direct(ctx)
	if s.api, err = startAPI(ctx, s.lab, s.built); err != nil {
		return err
	}
	defer s.api.stop()
	if err := s.publish(ctx); err != nil {
		return err
	}
	for _, proxy := range proxies {
		if err := s.proxied(ctx, proxy); err != nil {
			return fmt.Errorf("kube-proxy, %s: %w", proxy, err)
		}
	}
	return nil
}

// forward makes the switch a router.
func forward() error {
	return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
		os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
}

func (s *story) configure(ctx context.Context) error {
	file := filepath.Join(s.lab.Nodes[0].RunDir(), "pools.yaml")
	if err := os.WriteFile(file, []byte(s.configuration()), 0o600); err != nil {
		return err
	}
	if _, err := s.lab.Nodes[0].Berthctl(ctx, "apply", "-f", file); err != nil {
		return err
	}
	return lab.Eventually(ctx, "each node has the pool", func() error {
		var errs []error
		for _, node := range s.lab.Nodes {
			errs = append(errs, node.CNIStatus(ctx, s.network(s.plugins, 0)))
		}
		return errors.Join(errs...)
	})
}

// people makes the containers and the machine outside, all of which answer.
func (s *story) people(ctx context.Context) (err error) {
	nodes := s.lab.Nodes
	at := []netip.Addr{netip.MustParseAddr("10.200.0.99"), netip.MustParseAddr("fd00:c8::99")}
	netns, err := s.lab.Machine("outside", at...)
	if err != nil {
		return err
	}
	s.outside = &place{"outside", netns, at}
	s.first = &place{"first", nodes[0].Netns(), []netip.Addr{nodes[0].Address, nodes[0].V6}}
	s.second = &place{"second", nodes[1].Netns(), []netip.Addr{nodes[1].Address, nodes[1].V6}}
	all := []*place{s.outside, s.first, s.second}
	for _, c := range []struct {
		at       **container
		name     string
		node     *lab.Node
		hostPort int
	}{
		{&s.near, "near", nodes[0], 0}, {&s.far, "far", s.elsewhere(), 0},
		{&s.asking, "asking", nodes[0], 0}, {&s.published, "published", nodes[0], hostPort},
	} {
		made, err := c.node.Container(s.lab.NextID(), s.network(s.plugins, c.hostPort))
		if err == nil {
			err = lab.Eventually(ctx, "ADD of "+c.name, func() error { _, err := made.Add(ctx); return err })
		}
		if err != nil {
			return err
		}
		*c.at = &container{place{c.name, made.Netns, made.All}, c.node.Name}
		all = append(all, &(*c.at).place)
	}
	for _, p := range all {
		listener, err := p.serve()
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, listener)
	}
	return nil
}

// elsewhere is the node of the containers that are not on the first one.
func (s *story) elsewhere() *lab.Node {
	if s.alone {
		return s.lab.Nodes[0]
	}
	return s.lab.Nodes[1]
}

// publish makes the API know nodes and Services.
func (s *story) publish(ctx context.Context) error {
	for _, n := range s.lab.Nodes {
		if err := s.api.node(ctx, n); err != nil {
			return err
		}
	}
	s.services = map[key]service{}
	for _, v6 := range s.versions() {
		for _, to := range []*container{s.near, s.far} {
			for _, local := range []bool{false, true} {
				made, err := s.api.serve(ctx, to, v6, local, uint16(firstNodePort+len(s.services)))
				if err != nil {
					return err
				}
				s.services[key{to, v6, local}] = made
			}
		}
	}
	return nil
}

// versions of IP that the containers have: whether it is 6.
func (s *story) versions() (all []bool) {
	for _, v6 := range []bool{false, true} {
		if s.near.of(v6).IsValid() {
			all = append(all, v6)
		}
	}
	return all
}
