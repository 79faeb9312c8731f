package host

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
)

// A wire is a kernel that says what fits between nodes, and nothing else.
type wire struct {
	Kernel
	mtu    int // of the link with the node's address, over IPv4; 0: there is none
	broken error
}

func (w *wire) PathMTU(tunnelled bool) (int, error) {
	if tunnelled && w.mtu != 0 {
		return w.mtu - 50, w.broken
	}
	return w.mtu, w.broken
}

// A looker is a keeper that looks at nothing but the path.
type looker struct {
	*Keeper
	t       *testing.T
	wire    *wire
	pools   map[string]allocator.Pool
	follows int // how often running containers were to follow
}

func newLooker(t *testing.T, pools ...allocator.Pool) *looker {
	l := &looker{t: t, wire: &wire{mtu: 1500}, pools: map[string]allocator.Pool{}}
	for _, p := range pools {
		l.pools[p.Name] = p.WithDefaults()
	}
	l.Keeper = New(Options{
		Kernel: l.wire, Findings: findings.New(func(findings.Finding, bool) {}, time.Now), PathChanged: func() { l.follows++ },
		Config: func() *config.Config { return &config.Config{Revision: 5, Pools: l.pools} },
	})
	return l
}

func pool(name string, mode allocator.Mode, cidrs ...string) allocator.Pool {
	p := allocator.Pool{Name: name, Mode: mode}
	for _, c := range cidrs {
		p.CIDRs = append(p.CIDRs, netip.MustParsePrefix(c))
	}
	return p
}

func (l *looker) expect(what string, name string, want int) {
	l.t.Helper()
	p := l.pools[name]
	if got, err := l.Fitted(&p); err != nil || got.MTU != want {
		l.t.Errorf("%s: pool %s gets MTU %d, error %v: want %d", what, name, got.MTU, err, want)
	}
	if p.MTU != l.pools[name].MTU {
		l.t.Errorf("%s: the configuration's own pool %s was changed", what, name)
	}
}

func (l *looker) expectFindings(what string, want ...string) {
	l.t.Helper()
	var got []string
	for _, f := range l.Findings.List() {
		got = append(got, f.Kind+" "+f.Subject)
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("%s: the findings are %q, want %q", what, got, want)
	}
}

func TestAPoolThatNamesNoMTUGetsWhatFitsBetweenNodesInItsMode(t *testing.T) {
	own, flat := pool("own", allocator.VXLAN, "10.4.0.0/16"), pool("flat", allocator.Flat, "10.5.0.0/16")
	own.MTU = 1300
	l := newLooker(t, pool("routed", allocator.Routed, "10.1.0.0/16"), pool("vxlan", allocator.VXLAN, "10.2.0.0/16"),
		pool("auto", allocator.Auto, "10.3.0.0/16"), own, flat)
	for _, looked := range []string{"before the first look", "after it"} {
		for name, want := range map[string]int{"routed": 1500, "vxlan": 1450, "auto": 1450, "own": 1300, "flat": 0} {
			l.expect(looked, name, want)
		}
		l.lookAtPath()
	}
	if l.follows != 0 {
		t.Errorf("running containers were to follow %d times, and nothing has changed", l.follows)
	}
	l.wire.mtu = 1400
	l.expect("not looked at yet", "routed", 1500)
	l.lookAtPath()
	l.lookAtPath()
	for name, want := range map[string]int{"routed": 1400, "vxlan": 1350, "auto": 1350, "own": 1300, "flat": 0} {
		l.expect("another MTU", name, want)
	}
	if l.follows != 1 {
		t.Errorf("running containers were to follow %d times: want once", l.follows)
	}
}

func TestWhatFitsBetweenNodesStaysWhileItCannotBeRead(t *testing.T) {
	large := pool("large", allocator.VXLAN, "10.2.0.0/16")
	large.MTU = 1500
	l := newLooker(t, pool("routed", allocator.Routed, "10.1.0.0/16"), large)
	l.wire.broken = errors.New("the kernel is broken")
	routed := l.pools["routed"]
	if _, err := l.Fitted(&routed); !errors.Is(err, l.wire.broken) {
		t.Errorf("nothing was ever read, error %v: want the kernel's", err)
	}
	l.wire.broken = nil
	l.lookAtPath()
	l.expectFindings("read", "mtu-too-large large")
	l.wire.broken, l.wire.mtu = errors.New("the kernel is broken"), 0
	l.lookAtPath()
	l.expect("broken", "routed", 1500)
	l.expectFindings("broken", "mtu-too-large large", "path-mtu-unknown host")
	l.wire.broken = nil
	l.lookAtPath()
	l.expect("no address", "routed", 1500)
	l.expectFindings("no address", "mtu-too-large large")
	if l.follows != 0 {
		t.Errorf("running containers were to follow %d times, and nothing is known to have changed", l.follows)
	}
}

func TestANodeThatLosesItsAddressKeepsWhatItsContainersHave(t *testing.T) {
	l := newLooker(t, pool("routed", allocator.Routed, "10.1.0.0/16"), pool("vxlan", allocator.VXLAN, "10.2.0.0/16"))
	l.wire.mtu = 0
	l.lookAtPath()
	l.expect("it never had one", "vxlan", 0)
	for _, mtu := range []int{1400, 0, 1400, 0, 9000} {
		l.wire.mtu = mtu
		l.lookAtPath()
		if mtu != 0 {
			l.expect("an address", "vxlan", mtu-50)
			continue
		}
		l.expect("no address", "vxlan", 1350)
		l.expect("no address", "routed", 1400)
	}
	if l.follows != 2 {
		t.Errorf("running containers were to follow %d times: want twice, to 1400 and to 9000", l.follows)
	}
}

func TestWhatSomebodyElseHasReadMeanwhileStays(t *testing.T) {
	var p path
	p.learn(map[bool]int{false: 1400, true: 1350})
	p.begin(map[bool]int{false: 1500, true: 1450}) // an ADD's, which was read before
	if mtu, known := p.get(true); mtu != 1350 || !known {
		t.Errorf("what fits is %d, known %v: want what was read last", mtu, known)
	}
}

func TestIPv6IsRefusedWhereLessThanItsLeastMTUFits(t *testing.T) {
	l := newLooker(t, pool("both", allocator.VXLAN, "10.1.0.0/16", "fd01::/64"), pool("v4", allocator.VXLAN, "10.2.0.0/16"),
		pool("direct", allocator.Routed, "10.3.0.0/16", "fd03::/64"))
	l.wire.mtu = 1329
	l.lookAtPath()
	l.expect("a little", "v4", 1279)
	l.expect("a little", "direct", 1329)
	both := l.pools["both"]
	_, err := l.Fitted(&both)
	if err == nil || !strings.Contains(err.Error(), `"both"`) || !strings.Contains(err.Error(), "1280") ||
		!strings.Contains(err.Error(), "1279") || !strings.Contains(err.Error(), "vxlan") {
		t.Errorf("error %v: want the pool, its mode, what IPv6 takes, and what fits", err)
	}
	l.expectFindings("a little", "path-mtu-too-small both")
	l.wire.mtu = 1330
	l.lookAtPath()
	l.expect("just enough", "both", 1280)
	l.expectFindings("just enough")
}

func TestAnMTUThatDoesNotFitBetweenNodesIsTold(t *testing.T) {
	routed, vxlan := pool("routed", allocator.Routed, "10.1.0.0/16"), pool("vxlan", allocator.VXLAN, "10.2.0.0/16")
	routed.MTU, vxlan.MTU = 1500, 1451
	l := newLooker(t, routed, vxlan)
	l.lookAtPath()
	l.expectFindings("one byte too many", "mtu-too-large vxlan")
	if f := l.Findings.List()[0]; !strings.Contains(f.Text, "1451") || !strings.Contains(f.Text, "1450") || f.Advice == "" {
		t.Errorf("finding %+v: want what it has and what fits", f)
	}
	l.wire.mtu = 1501
	l.lookAtPath()
	l.expectFindings("enough")
	l.wire.mtu = 1400
	l.lookAtPath()
	l.expectFindings("less", "mtu-too-large routed", "mtu-too-large vxlan")
	l.pools = map[string]allocator.Pool{}
	l.lookAtPath()
	l.expectFindings("no such pool")
}
