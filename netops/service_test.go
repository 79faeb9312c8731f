package netops

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/nettest"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// passBridgedPackets has bridged packets pass the rules of IPv4, or skips the test where the kernel cannot.
func passBridgedPackets(t *testing.T, host space) {
	t.Helper()
	host.Do(func() error {
		if _, err := sysctl.Read(families[0].call); err != nil {
			t.Skip("this kernel has no br_netfilter")
		}
		return sysctl.Set("1", families[0].call)
	})
}

// service makes rules as kube-proxy's, in a table that has a chain: what goes to an address goes to an endpoint; what the endpoint sends to
// itself takes the host's address.
func service(host space, in, known string, at, endpoint netip.Addr) {
	host.T.Helper()
	host.Do(func() error {
		c := &nftables.Conn{}
		table := c.AddTable(&nftables.Table{Name: in, Family: nftables.TableFamilyIPv4})
		c.AddRule(&nftables.Rule{
			Table: table, Chain: c.AddChain(&nftables.Chain{Name: known, Table: table}), Exprs: []expr.Any{&expr.Counter{}},
		})
		header := func(offset uint32, is netip.Addr) []expr.Any {
			return []expr.Any{
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: is.AsSlice()},
			}
		}
		for name, hook := range map[string]*nftables.ChainHook{
			"in": nftables.ChainHookPrerouting, "own": nftables.ChainHookOutput, "out": nftables.ChainHookPostrouting,
		} {
			priority, rule := nftables.ChainPriorityNATDest, append(header(16, at),
				&expr.Immediate{Register: 1, Data: endpoint.AsSlice()},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
			if name == "out" {
				priority = nftables.ChainPriorityNATSource
				rule = append(append(header(12, endpoint), header(16, endpoint)...), &expr.Masq{})
			}
			chain := c.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: priority})
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
		}
		return c.Flush()
	})
}

// asks reports whether a question to a Service's address is answered, and from where it came to the endpoint.
func asks(t *testing.T, from, endpoint space, at netip.Addr, within time.Duration) (source netip.Addr, answered bool) {
	t.Helper()
	var server *net.UDPConn
	endpoint.Do(func() (err error) { server, err = net.ListenUDP("udp4", nil); return err })
	defer server.Close()
	come := make(chan netip.Addr, 100)
	go func() {
		for {
			_, who, err := server.ReadFromUDPAddrPort(make([]byte, 16))
			if err != nil {
				return
			}
			come <- who.Addr().Unmap()
			_, _ = server.WriteToUDPAddrPort([]byte("answer"), who)
		}
	}()
	port := server.LocalAddr().(*net.UDPAddr).Port
	var client *net.UDPConn
	from.Do(func() (err error) {
		client, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: at.AsSlice(), Port: port})
		return err
	})
	defer client.Close()
	answered = nettest.Answers(t, client, within)
	select {
	case source = <-come:
	default:
	}
	return source, answered
}

func TestAContainerReachesItselfAndItsNeighbourByAService(t *testing.T) {
	k, host := newBridge(t)
	passBridgedPackets(t, host)
	outside(t, host)
	host.Do(func() error { return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("192.0.2.2")}) })
	p, inside := newContainer(t, k, 1)
	_, other := newContainer(t, k, 2)
	at := netip.MustParseAddr("10.96.0.10")
	service(host, "services", "any", at, p.Addresses[0].Addr())
	if source, ok := asks(t, inside, inside, at, patience); !ok || source != netip.MustParseAddr("10.42.0.1") {
		t.Errorf("by its own Service it is answered: %v, and asked from %v", ok, source)
	}
	if source, ok := asks(t, other, inside, at, patience); !ok || source != netip.MustParseAddr("10.42.0.4") {
		t.Errorf("another one is answered: %v, and asks from %v", ok, source)
	}
	if source, ok := asks(t, host, inside, at, patience); !ok || source != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("the host is answered: %v, and asks from %v", ok, source)
	}
}

// What comes from outside to a node, and goes on to a container of its own by the rules, needs a host that forwards.
func TestAMachineOutsideReachesAContainerByAPortOfANodeWithAnUplink(t *testing.T) {
	plug := newSwitch(t)
	k, host, b := newRoutedPoolAt(t, plug)
	passBridgedPackets(t, host)
	machine := newSpace(t)
	plug(machine, "eth0")
	machine.Give("eth0", "192.0.2.3/24")
	machine.Do(func() error { return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("192.0.2.254")}) })
	p, inside := newContainer(t, k, 1)
	node := netip.MustParseAddr("192.0.2.1")
	service(host, "nat", "KUBE-SERVICES", node, p.Addresses[0].Addr())
	must(t, k.EnsureTable())
	_, err := k.EnsureBridge(b)
	must(t, err)
	if source, ok := asks(t, machine, inside, node, patience); !ok || source != netip.MustParseAddr("192.0.2.3") {
		t.Errorf("a machine outside is answered: %v, and asks from %v", ok, source)
	}
}

func TestAPortThatIsNotHairpinIsMadeSo(t *testing.T) {
	k, host := newBridge(t)
	b := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64")}
	p, _ := newContainer(t, k, 1)
	hairpin := func() (is bool) {
		host.Do(func() error {
			info, err := netlink.LinkGetProtinfo(named(t, p.Name))
			is = info.Hairpin
			return err
		})
		return is
	}
	if !hairpin() {
		t.Error("a new port is not hairpin")
	}
	for name, spoil := range map[string]func() error{
		"it is turned off":          func() error { return netlink.LinkSetHairpin(named(t, p.Name), false) },
		"it was off the bridge":     func() error { return netlink.LinkSetNoMaster(named(t, p.Name)) },
		"it is down and turned off": func() error { return netlink.LinkSetDown(named(t, p.Name)) },
	} {
		host.Do(func() error { _ = netlink.LinkSetHairpin(named(t, p.Name), false); return spoil() })
		if wrong := kinds(t, k, b, p.Name); len(wrong) != 1 {
			t.Errorf("%s: found %q", name, wrong)
		}
		if name == "it is turned off" {
			must(t, k.Check(p)) // a container of a former release that runs is whole
		}
		must(t, k.RepairPorts(b, []string{p.Name}))
		if wrong := kinds(t, k, b, p.Name); len(wrong) > 0 || !hairpin() {
			t.Errorf("%s: afterwards hairpin %v, found %q", name, hairpin(), wrong)
		}
	}
}

func TestBridgedPacketsPassTheRulesWhereSomebodyRewritesThem(t *testing.T) {
	for name, c := range map[string]struct {
		table, chain, uplink string
		needed, legacy       bool
	}{
		"kube-proxy by iptables":             {"nat", "KUBE-SERVICES", "", true, false},
		"kube-proxy by legacy iptables":      {"nat", "KUBE-SERVICES", "", true, true},
		"kube-proxy by nftables":             {"kube-proxy", "any", "", true, false},
		"portmap with an uplink":             {"nat", "CNI-HOSTPORT-DNAT", "eth0", true, false},
		"portmap without one":                {"nat", "CNI-HOSTPORT-DNAT", "", false, false},
		"a nat table of somebody else's own": {"nat", "DOCKER", "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			k, host := newHost(t)
			newSwitch(t)(host, "eth0")
			b := Bridge{Name: "berth0", Uplink: c.uplink, Subnets: prefixes("10.42.0.0/16")}
			setting := func(path string) (is string) {
				host.Do(func() (err error) {
					if is, err = sysctl.Read(path); err != nil {
						t.Skip("this kernel has no br_netfilter")
					}
					return nil
				})
				return is
			}
			setting(families[0].call)
			host.Do(func() error { return sysctl.Set("0", families[0].call) })
			_, err := k.EnsureBridge(b)
			must(t, err)
			if is := setting(families[0].call); is != "0" {
				t.Errorf("%s where nobody needs it", is)
			}
			host.Do(func() error {
				if c.legacy {
					needsLegacyTables(t, legacy4)
					return addLegacyChain(legacy4, c.chain, 1)
				}
				n := &nftables.Conn{}
				table := n.AddTable(&nftables.Table{Name: c.table, Family: nftables.TableFamilyIPv4})
				chain := n.AddChain(&nftables.Chain{Name: c.chain, Table: table})
				n.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}})
				return n.Flush()
			})
			if got := kinds(t, k, b); slices.Contains(got, "services-bypassed") != c.needed {
				t.Errorf("found %q", got)
			}
			must(t, k.EnsureTable())
			_, err = k.EnsureBridge(b)
			must(t, err)
			for _, path := range []string{families[0].call, sysctl.V4 + "/all/forwarding"} {
				if is, want := setting(path), map[bool]string{true: "1", false: "0"}[c.needed]; is != want {
					t.Errorf("%s is %s, want %s", path, is, want)
				}
			}
			if got := kinds(t, k, b); len(got) > 0 {
				t.Errorf("afterwards %q", got)
			}
		})
	}
}

func TestWhatCannotBeReadOfRulesServesNobodyAndIsAnError(t *testing.T) {
	broken := errors.New("it cannot be read")
	if _, err := servedBy(true, func(marker) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	for uplink, want := range map[bool]string{true: "portmap", false: ""} {
		who, err := servedBy(uplink, func(m marker) (bool, error) { return m.chain == "CNI-HOSTPORT-DNAT", nil })
		if who != want || err != nil {
			t.Errorf("with an uplink %v: %q, error %v", uplink, who, err)
		}
	}
}
