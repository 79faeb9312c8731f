package echo_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/echo"
	"github.com/berth-ipam/berth/netops/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// behindRouter is a namespace, and what leads from it to another one, over a router whose far side carries 1,400 bytes.
func behindRouter(t *testing.T) *os.File {
	t.Helper()
	near, router, far := nettest.NewSpace(t), nettest.NewSpace(t), nettest.NewSpace(t)
	nettest.Cable(t, near, "a", router, "a")
	nettest.Cable(t, router, "b", far, "b")
	give(near, "a", "10.1.0.2/24", "fd01::2/64")
	give(router, "a", "10.1.0.1/24", "fd01::1/64")
	give(router, "b", "10.2.0.1/24", "fd02::1/64")
	give(far, "b", "10.2.0.2/24", "fd02::2/64")
	route(near, "10.1.0.1", "fd01::1")
	route(far, "10.2.0.1", "fd02::1")
	router.Do(func() error {
		link, err := netlink.LinkByName("b")
		return errors.Join(err, netlink.LinkSetMTU(link, 1400), os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	})
	far.Do(func() error {
		link, err := netlink.LinkByName("b")
		return errors.Join(err, netlink.LinkSetMTU(link, 1400))
	})
	return near.Open()
}

// give gives addresses that are usable at once.
func give(s nettest.Space, name string, addresses ...string) {
	s.T.Helper()
	s.Do(func() error {
		link, err := netlink.LinkByName(name)
		for _, a := range addresses {
			parsed, bad := netlink.ParseAddr(a)
			if err = errors.Join(err, bad); err == nil {
				parsed.Flags = 0x02 // IFA_F_NODAD
				err = netlink.AddrAdd(link, parsed)
			}
		}
		return err
	})
}

func route(s nettest.Space, gateways ...string) {
	s.T.Helper()
	s.Do(func() (err error) {
		for _, g := range gateways {
			err = errors.Join(err, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(g)}))
		}
		return err
	})
}

func ask(t *testing.T, from *os.File, to string, size int) error {
	t.Helper()
	r := echo.Request{From: from, To: netip.MustParseAddr(to), Size: size, Tries: 20, Wait: time.Second}
	return echo.Ask(t.Context(), r)
}

func TestAnEchoComesBackWithAllThatTheWayCarries(t *testing.T) {
	from := behindRouter(t)
	for _, to := range []string{"10.2.0.2", "fd02::2"} {
		for _, size := range []int{0, 64, 1399, 1400} {
			if err := ask(t, from, to, size); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
}

func TestWhoLetsNoSuchPacketPassIsNamedWithWhatWouldPass(t *testing.T) {
	from := behindRouter(t)
	for to, router := range map[string]string{"10.2.0.2": "10.1.0.1", "fd02::2": "fd01::1"} {
		for range 2 { // also when the kernel has learnt of it
			err := ask(t, from, to, 1401)
			if e, ok := errors.AsType[*echo.TooBigError](err); !ok || e.By != netip.MustParseAddr(router) || e.MTU != 1400 {
				t.Errorf("%v: want that %s lets 1400 bytes pass", err, router)
			}
		}
		err := ask(t, from, to, 1501)
		if e, ok := errors.AsType[*echo.TooBigError](err); !ok || e.By.IsValid() {
			t.Errorf("%v: want that the own interface lets no such packet pass", err)
		}
	}
}

func TestWhoKnowsNoWayIsNamedAndSilenceIsNoAnswer(t *testing.T) {
	from := behindRouter(t)
	for to, by := range map[string]string{"10.3.0.2": "10.1.0.1", "fd03::2": "fd01::1"} {
		r := echo.Request{From: from, To: netip.MustParseAddr(to), Size: 64, Tries: 3, Wait: 5 * time.Second}
		err := echo.Ask(t.Context(), r)
		if e, ok := errors.AsType[*echo.RefusedError](err); !ok || e.By != netip.MustParseAddr(by) {
			t.Errorf("%v: want that %s refuses %s", err, by, to)
		}
	}
	empty := nettest.NewSpace(t).Open()
	for _, to := range []string{"10.2.0.2", "fd02::2"} {
		r := echo.Request{From: empty, To: netip.MustParseAddr(to), Size: 64, Tries: 1}
		if e, ok := errors.AsType[*echo.RefusedError](echo.Ask(t.Context(), r)); !ok || e.By.IsValid() {
			t.Errorf("%v: want that the own kernel knows no way to %s", e, to)
		}
	}
	alone := nettest.NewSpace(t)
	nettest.Cable(t, alone, "a", nettest.NewSpace(t), "b")
	give(alone, "a", "10.1.0.2/24")
	r := echo.Request{From: alone.Open(), To: netip.MustParseAddr("10.1.0.9"), Size: 64, Tries: 1}
	if err := echo.Ask(t.Context(), r); !errors.Is(err, echo.ErrNoAnswer) {
		t.Errorf("%v: want no answer", err)
	}
}
