package netops

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/rtnl"
)

func TestWordsOfAnyLengthAreReadBackFromAPortAndNeverAnothers(t *testing.T) {
	k, host := newBridge(t)
	for n, length := range []int{1, rtnl.MaxAlias, rtnl.MaxAlias + 1, 1000, rtnl.MaxWords} {
		p, _ := newPort(t, n)
		p.Alias = strings.Repeat(`berth {"n":"<é>/ "}`, rtnl.MaxWords)[:length]
		_, err := k.Attach(p)
		must(t, err)
		if got := aliasOf(t, k, p.Name); got != p.Alias {
			t.Errorf("of %d bytes it reads back %.60q, %d bytes", length, got, len(got))
		}
		if length <= rtnl.MaxAlias {
			continue
		}
		// A piece that is gone, or another's, leaves no words.
		first := rtnl.AltNames(p.Name, p.Alias)[0]
		for _, change := range []func(netlink.Link) error{
			func(l netlink.Link) error { return netlink.LinkDelAltName(l, first) },
			func(l netlink.Link) error { return netlink.LinkAddAltName(l, first[:len(first)-1]+"_") },
		} {
			host.Do(func() error {
				l, err := netlink.LinkByName(p.Name)
				must(t, err)
				return change(l)
			})
			if got := aliasOf(t, k, p.Name); got != rtnl.ShortAlias(p.Alias) {
				t.Errorf("of pieces that are not all there it makes %.60q", got)
			}
		}
	}
	p, _ := newPort(t, 9)
	p.Alias = strings.Repeat("x", rtnl.MaxWords+1)
	if _, err := k.Attach(p); err == nil {
		t.Error("words are accepted that are longer than they may be")
	}
}

// An ADD that is repeated may have another epoch, so that its words differ though its port does not.
func TestOtherWordsOfAPortThatStaysAreReadBack(t *testing.T) {
	k, _ := newBridge(t)
	p, _ := newContainer(t, k, 1)
	for i, length := range []int{1000, 1000, 300, rtnl.MaxWords, 20, 1000} {
		former := p.Alias
		p.Alias = strings.Repeat(string(rune('a'+i)), length)
		_, err := k.Attach(p)
		must(t, err)
		if got := aliasOf(t, k, p.Name); got != p.Alias {
			t.Errorf("words of %d bytes after %d read back as %.60q", length, len(former), got)
		}
	}
	classes, err := k.Classes()
	must(t, err)
	if classes[p.Name] != "stateless" {
		t.Error("the port did not stay")
	}
}

func aliasOf(t *testing.T, k *Kernel, name string) string {
	t.Helper()
	ports, err := k.Ports()
	must(t, err)
	for _, p := range ports {
		if p.Name == name {
			return p.Alias
		}
	}
	t.Fatalf("port %s is not there", name)
	return ""
}
