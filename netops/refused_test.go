package netops

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/rtnl"
)

func TestAForeignInterfaceIsRefusedAndLeftAlone(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newPort(t, 1)
	inside.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "other"})
	})
	before := len(host.Links()) + len(inside.Links())
	_, err := k.Attach(p)
	if foreign, ok := errors.AsType[*ForeignError](err); !ok || foreign.Interface != "eth0" {
		t.Errorf("error %v: want one that says eth0 is foreign", err)
	}
	if after := len(host.Links()) + len(inside.Links()); after != before {
		t.Errorf("%d links before, %d after", before, after)
	}
}

func TestAFileThatIsNoNetworkNamespaceIsRefused(t *testing.T) {
	k, host := newBridge(t)
	before := len(host.Links())
	regular, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(t, err)
	defer regular.Close()
	mount, err := os.Open("/proc/self/ns/mnt")
	must(t, err)
	defer mount.Close()
	for _, file := range []*os.File{nil, regular, mount} {
		p, _ := newPort(t, 1)
		p.Netns = file
		if _, err := k.Attach(p); err == nil || !strings.Contains(err.Error(), "network namespace") {
			t.Errorf("error %v: want one that names the network namespace", err)
		}
	}
	if after := len(host.Links()); after != before {
		t.Errorf("%d links before, %d after", before, after)
	}
}

func TestTheHostsOwnNamespaceIsRefused(t *testing.T) {
	k, host := newBridge(t)
	p, _ := newPort(t, 1)
	p.Netns = host.Open()
	if _, err := k.Attach(p); !mentions(err, "the host's own") {
		t.Errorf("error %v", err)
	}
}

func TestAFailedAttachLeavesNothing(t *testing.T) {
	k, host := newBridge(t)
	for name, spoil := range map[string]func(*Port){
		"bridge":            func(p *Port) { p.Bridge = "absent" },
		"not a bridge":      func(p *Port) { p.Bridge = "lo" },
		"MTU":               func(p *Port) { p.MTU = 70000 },
		"alias":             func(p *Port) { p.Alias = strings.Repeat("a", rtnl.MaxWords+1) },
		"port name":         func(p *Port) { p.Name = "eth7" },
		"interface name":    func(p *Port) { p.Interface = "a/b" },
		"MAC":               func(p *Port) { p.MAC = net.HardwareAddr{1, 2, 3, 4, 5, 6} }, // of a group
		"no address":        func(p *Port) { p.Addresses = nil },
		"duplicate address": func(p *Port) { p.Addresses = append(p.Addresses, p.Addresses[1]) },
		"gateway":           func(p *Port) { p.Gateways = []netip.Addr{netip.MustParseAddr("192.0.2.1")} },
		"route's gateway": func(p *Port) {
			p.Routes = []Route{{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParseAddr("192.0.2.1")}}
		},
		"route's family": func(p *Port) {
			p.Routes = []Route{{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParseAddr("fd42::1")}}
		},
		"route twice": func(p *Port) {
			r := Route{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParseAddr("10.42.0.1")}
			p.Routes = []Route{r, r}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, inside := newPort(t, 1)
			spoil(&p)
			before := len(host.Links())
			if _, err := k.Attach(p); err == nil {
				t.Error("it was taken")
			}
			if after, within := len(host.Links()), inside.Links(); after != before || len(within) != 1 {
				t.Errorf("%d links before, %d after; inside %v", before, after, within)
			}
		})
	}
}
