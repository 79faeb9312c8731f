package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A story is a lab and the containers in it.
type story struct {
	*telling
	family family
	lab    *lab.Lab
	db     []*lab.Container // the stateful app's members, in their order
	web    []*lab.Container // the stateless app's replicas
}

// tell goes through the acts; the lab is gone when it returns.
func tell(ctx context.Context, told *telling, family family, binaries string) (err error) {
	fmt.Fprintln(told.out, "Berth: three nodes, one etcd, nine containers. Each line that begins with ok has been checked.")
	s := &story{telling: told, family: family}
	s.act(family.place())
	options := lab.Options{Binaries: binaries, Nodes: 3, Gateways: family.gateways, IPv6: family.mode != "", Apart: family.apart}
	s.lab, err = lab.New(ctx, options)
	if err != nil {
		return err
	}
	defer func() {
		if (err != nil || len(told.broken) > 0) && ctx.Err() == nil {
			fmt.Fprintf(told.out, "\nThe logs end so:\n%s", s.lab.Logs(15))
		}
		err = errors.Join(err, s.lab.Close())
	}()
	s.claim(nil, "etcd answers at %s", s.lab.Etcd.Endpoint())
	for _, node := range s.lab.Nodes {
		s.claim(nil, "berthd of %s is ready, on %v", node.Name, node.Address)
	}
	acts := []func(context.Context) error{
		s.configure, s.addContainers, s.pingEveryPair, s.moveMembers, s.replaceReplicas, s.killAnAgent, s.showState, s.deleteEverything,
	}
	for _, act := range acts {
		if err := errors.Join(act(ctx), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) configure(ctx context.Context) error {
	s.act("One pool of addresses: berthctl apply -f pools.yaml")
	configuration := s.family.configuration()
	s.quote(configuration)
	file := filepath.Join(s.lab.Nodes[0].RunDir(), "pools.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return err
	}
	answer, err := s.lab.Nodes[0].Berthctl(ctx, "apply", "-f", file, "--message", "the first pool")
	if err != nil {
		return err
	}
	s.say("It answers:")
	s.quote(answer)
	return lab.Eventually(ctx, "each node has the pool", func() error {
		for _, node := range s.lab.Nodes {
			if err := node.CNIStatus(ctx, s.family.network()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *story) addContainers(ctx context.Context) error {
	s.act("Nine containers through CNI: three members of a stateful app, six replicas of a stateless one")
	for i := range 3 {
		member, err := s.addMember(ctx, i, s.lab.Nodes[i])
		if err != nil {
			return err
		}
		s.db = append(s.db, member)
	}
	for i := range 6 {
		replica, err := s.addReplica(ctx, s.lab.Nodes[i%3])
		if err != nil {
			return err
		}
		s.web = append(s.web, replica)
	}
	s.table(s.rows()...)
	s.claim(s.distinct(), "nine containers have nine different addresses")
	s.claim(every(s.db, s.family.isStateful), "the stateful ones lie inside %v", s.family.stateful)
	s.claim(every(s.web, func(c *lab.Container) bool { return !s.family.anyStateful(c) }), "the stateless ones lie outside")
	for _, node := range s.lab.Nodes {
		_, err := node.Ping(netip.MustParseAddr("10.200.0.1"))
		if s.family.mode == "" {
			s.claim(err, "the NIC of %s is in its bridge, and %s still reaches the switch by %v", node.Name, node.Name, node.Address)
		} else {
			s.claim(err, "%s keeps its NIC to itself, and still reaches the switch by %v", node.Name, node.Address)
		}
	}
	return nil
}

func (s *story) addMember(ctx context.Context, number int, node *lab.Node) (*lab.Container, error) {
	c, err := node.Container(s.lab.NextID(), s.family.network(), "BERTH_CLASS", "stateful",
		"BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", fmt.Sprintf("db-%d", number))
	if err == nil {
		_, err = c.Add(ctx)
	}
	return c, err
}

func (s *story) addReplica(ctx context.Context, node *lab.Node) (*lab.Container, error) {
	c, err := node.Container(s.lab.NextID(), s.family.network(), "BERTH_NAMESPACE", "shop", "BERTH_APP", "web")
	if err == nil {
		_, err = c.Add(ctx)
	}
	return c, err
}

func (s *story) pingEveryPair(context.Context) error {
	s.act("Everyone reaches everyone")
	s.claimEveryPair("each of the containers pings each other one")
	for _, gateway := range s.family.gateways {
		_, err := s.web[0].Ping(gateway.Addr())
		s.claim(err, "and the gateway %v", gateway.Addr())
	}
	if s.family.mode == "" {
		return nil
	}
	for _, address := range s.web[0].All {
		host := s.lab.Nodes[1].Address
		if address.Is6() {
			host = s.lab.Nodes[1].V6
		}
		_, err := s.web[0].Ping(host)
		s.claim(err, "and %s reaches the host n2 by %v", s.web[0].ID, host)
		_, err = s.lab.Nodes[1].Ping(address)
		s.claim(err, "and n2 reaches %v", address)
	}
	return nil
}

// claimEveryPair pings along every ordered pair of containers.
func (s *story) claimEveryPair(text string) {
	var errs []error
	var pings int
	var slowest lab.Ping
	for _, from := range s.all() {
		for _, to := range s.all() {
			if from == to {
				continue
			}
			for _, address := range to.All {
				ping, err := from.Ping(address)
				errs, pings = append(errs, err), pings+1
				if ping.Took > slowest.Took {
					slowest = ping
				}
			}
		}
	}
	s.claim(errors.Join(errs...), "%s: %d pings, the slowest %.1f ms", text, pings, 1000*slowest.Took.Seconds())
}

func (s *story) all() []*lab.Container { return slices.Concat(s.db, s.web) }

func (s *story) rows() []string {
	rows := []string{"container\tapp\tnode\taddress"}
	for i, c := range s.db {
		rows = append(rows, fmt.Sprintf("%s\tshop/db/db-%d\t%s\t%s", c.ID, i, c.Node.Name, words(c.All)))
	}
	for _, c := range s.web {
		rows = append(rows, fmt.Sprintf("%s\tshop/web\t%s\t%s", c.ID, c.Node.Name, words(c.All)))
	}
	return rows
}

// distinct gives an error that names an address which two containers have.
func (s *story) distinct() error {
	holders := map[netip.Addr]string{}
	for _, c := range s.all() {
		for _, address := range c.All {
			if other, twice := holders[address]; twice {
				return fmt.Errorf("%s and %s both have %v", other, c.ID, address)
			}
			holders[address] = c.ID
		}
	}
	return nil
}

func every(containers []*lab.Container, holds func(*lab.Container) bool) error {
	for _, c := range containers {
		if !holds(c) {
			return fmt.Errorf("%s has %s", c.ID, words(c.All))
		}
	}
	return nil
}

// addresses are those of some containers, in order.
func addresses(containers []*lab.Container) string {
	var all []netip.Addr
	for _, c := range containers {
		all = append(all, c.All...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return words(all)
}
