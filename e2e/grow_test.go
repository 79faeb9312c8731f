package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// A growing is a pool of one mode that grows.
type growing struct {
	pool     string // its keys besides the CIDRs
	gateways string // of the two CIDRs; empty: the mode has none
	network  *lab.Network
	apart    int    // lab.Options.Apart
	bits     [2]int // of a container's prefix in the first CIDR, before and after
}

var growings = map[string]growing{
	"flat":   {"", "10.42.0.1, 10.44.0.1", lab.Berth(), 0, [2]int{24, 23}},
	"routed": {"    mode: routed\n", "", lab.Plain(), 0, [2]int{32, 32}},
	"vxlan":  {"    mode: vxlan\n", "", lab.Plain(), 1, [2]int{32, 32}},
}

// with is the configuration with these CIDRs. The second gateway is there with the second CIDR.
func (g growing) with(cidrs ...string) string {
	text := fmt.Sprintf("pools:\n  - name: default\n%s    stateful: [10.42.0.0/26]\n    blockSize: {v4: 28}\n    cidrs: [%s]\n", g.pool,
		strings.Join(cidrs, ", "))
	gateways := g.gateways
	if first, _, two := strings.Cut(gateways, ","); two && len(cidrs) < 2 {
		gateways = first
	}
	if gateways == "" {
		return text
	}
	return text + fmt.Sprintf("    gateways: [%s]\n", gateways)
}

// with makes a container of the growing pool that asks for an address.
func (g growing) container(t *testing.T, node *lab.Node, l *lab.Lab, args ...string) *lab.Container {
	t.Helper()
	c, err := node.Container(l.NextID(), g.network, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Remove() })
	return c
}

// prefixes fails unless each container has its address with this prefix length.
func prefixes(t *testing.T, all []*lab.Container, bits int, when string) {
	t.Helper()
	for _, c := range all {
		if has, err := c.Addresses(); err != nil || len(has) != 1 || has[0] != netip.PrefixFrom(c.Address, bits) {
			t.Errorf("%s: %s has %v, want %v with /%d (error %v)", when, c.ID, has, c.Address, bits, err)
		}
	}
}

// complete waits until the version says that all containers have what was applied, and looks at them at once.
func complete(t *testing.T, l *lab.Lab, look func()) {
	t.Helper()
	labtest.Eventually(t, "the version says complete", func() error {
		out, err := l.Nodes[1].Berthctl(t.Context(), "version", "-o", "json")
		var version struct {
			Complete bool `json:"complete"`
		}
		if err := errors.Join(err, json.Unmarshal([]byte(out), &version)); err != nil {
			return err
		}
		if !version.Complete {
			return fmt.Errorf("it says %s", out)
		}
		return nil
	})
	look()
}

func TestAPoolGrowsUnderRunningContainersWithoutALostPing(t *testing.T) {
	for mode, g := range growings {
		t.Run(mode, func(t *testing.T) {
			gateways := []netip.Prefix{netip.MustParsePrefix("10.42.0.1/23"), netip.MustParsePrefix("10.44.0.1/24")}
			l := makeLab(t, lab.Options{Nodes: 3, Gateways: gateways, Apart: g.apart}, g.with("10.42.0.0/24"))
			var all []*lab.Container
			for i := range 20 {
				args := []string{"BERTH_NAMESPACE", "shop", "BERTH_APP", "web"}
				if i%4 == 0 {
					args = append(args, "BERTH_CLASS", "stateful", "BERTH_MEMBER", fmt.Sprintf("web-%d", i))
				}
				all = append(all, g.container(t, l.Nodes[i%3], l, args...))
				add(t, all[i])
			}
			prefixes(t, all, g.bits[0], "before")
			var pings []*lab.Pinging
			for i, c := range all {
				reaches(t, c, all[(i+1)%len(all)].Address) // the neighbours are known, and so are the routes
				p, err := c.Pinging(all[(i+1)%len(all)].Address)
				if err != nil {
					t.Fatal(err)
				}
				pings = append(pings, p)
			}
			for _, cidrs := range [][]string{{"10.42.0.0/23"}, {"10.42.0.0/23", "10.44.0.0/24"}} {
				if _, err := labtest.Apply(t, l, g.with(cidrs...)); err != nil {
					t.Fatal(err)
				}
				complete(t, l, func() { prefixes(t, all, g.bits[1], "when the version says complete") })
			}
			for _, p := range pings {
				if err := p.End(); err != nil {
					t.Error(err)
				}
			}
			for i, c := range all {
				reaches(t, c, all[(i+7)%len(all)].Address)
				if err := c.Check(t.Context()); err != nil {
					t.Errorf("CHECK of %s: %v", c.ID, err)
				}
			}
			g.usesAll(t, l, all)
			g.shrinks(t, l)
		})
	}
}

// usesAll wants the new half, the second CIDR, and what was the broadcast address before to be given out and reached.
func (g growing) usesAll(t *testing.T, l *lab.Lab, all []*lab.Container) {
	t.Helper()
	for _, address := range []string{"10.42.1.77", "10.42.0.255", "10.44.0.77"} {
		c := g.container(t, l.Nodes[1], l, "IP", address)
		labtest.Eventually(t, address+" is given out", func() error { _, err := c.Add(t.Context()); return err })
		for _, other := range all {
			if g.gateways == "" || !strings.HasPrefix(address, "10.44") {
				reaches(t, c, other.Address)
				reaches(t, other, c.Address)
			}
		}
		del(t, c)
	}
}

// shrinks drains the second CIDR under a container, which keeps it from being removed, and removes it.
func (g growing) shrinks(t *testing.T, l *lab.Lab) {
	t.Helper()
	c := g.container(t, l.Nodes[2], l, "IP", "10.44.0.78")
	add(t, c)
	if _, err := labtest.Apply(t, l, g.with("10.42.0.0/23", "{cidr: 10.44.0.0/24, drain: true}")); err != nil {
		t.Fatal(err)
	}
	out, err := labtest.Apply(t, l, g.with("10.42.0.0/23"))
	if text := out + fmt.Sprint(err); err == nil || !strings.Contains(text, "cidr 10.44.0.0/24 cannot be removed while in use") {
		t.Errorf("while a container has an address of it: %s", text)
	}
	labtest.Eventually(t, "nobody is given an address of it", func() error {
		late := g.container(t, l.Nodes[0], l, "IP", "10.44.0.79")
		if _, err := late.Add(t.Context()); err == nil {
			return errors.Join(errors.New("a container was"), late.Delete(t.Context()))
		}
		return nil
	})
	del(t, c)
	labtest.Eventually(t, "it is removed", func() error { _, err := labtest.Apply(t, l, g.with("10.42.0.0/23")); return err })
}
