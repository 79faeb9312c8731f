package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/agent"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/netops"
)

// A real side is a network namespace that has netops as its agents do.
type real struct {
	listener
	path  string // of the host's namespace
	k     agent.Kernel
	f     map[int]*os.File
	paths map[int]string
	made  int
}

// far is where the other end of the NIC's cable is.
func (r *real) far() string { return r.path + "-far" }

// newReal makes a host with a NIC "eth0", which forwards nothing.
func newReal(path string) (*real, error) {
	r := &real{path: path, f: map[int]*os.File{}, paths: map[int]string{}}
	for _, p := range []string{path, r.far()} {
		if err := sandbox.Namespace(p); err != nil {
			return nil, err
		}
	}
	err := onLink(path, "lo", func(netlink.Link) error {
		far, err := os.Open(r.far())
		if err != nil {
			return err
		}
		defer far.Close()
		l := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(far.Fd())}
		return errors.Join(netlink.LinkAdd(l), netlink.LinkSetUp(l))
	})
	return r, errors.Join(err, onLink(r.far(), "eth0", netlink.LinkSetUp), r.stopForwarding())
}

func (r *real) within(f func() error) error { return sandbox.Within(r.path, f) }

func (r *real) kernel() agent.Kernel { return r.k }

func (r *real) reopen() error {
	if r.k != nil {
		r.k.Close()
	}
	err := r.within(func() error {
		k, err := netops.Open()
		r.k = k
		return err
	})
	if err == nil {
		go r.listen(r.k)
	}
	return err
}

func (r *real) make(n int) (err error) {
	r.made++
	r.paths[n] = fmt.Sprintf("%s-%d", r.path, r.made)
	if err := sandbox.Namespace(r.paths[n]); err != nil {
		return err
	}
	r.f[n], err = os.Open(r.paths[n])
	return err
}

func (r *real) end(n int) error {
	r.f[n].Close()
	delete(r.f, n)
	return sandbox.Remove(r.paths[n])
}

// close ends it.
func (r *real) close() {
	if r.k != nil {
		r.k.Close()
	}
	for n := range r.f {
		_ = r.end(n)
	}
	_ = sandbox.Remove(r.path)
	_ = sandbox.Remove(r.far())
}

func (r *real) netns(n int) *os.File { return r.f[n] }

// onLink changes a link of a namespace.
func onLink(path, name string, f func(netlink.Link) error) error {
	return sandbox.Within(path, func() error {
		l, err := netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return unix.ENODEV
		}
		if err != nil {
			return err
		}
		return f(l)
	})
}

func (r *real) deleteLink(name string) error { return onLink(r.path, name, netlink.LinkDel) }

func (r *real) setMaster(name, bridge string) error {
	return onLink(r.path, name, func(l netlink.Link) error {
		if bridge == "" {
			return netlink.LinkSetNoMaster(l)
		}
		b, err := netlink.LinkByName(bridge)
		if err != nil {
			return unix.ENODEV
		}
		return netlink.LinkSetMaster(l, b)
	})
}

func up(on bool) func(netlink.Link) error {
	if on {
		return netlink.LinkSetUp
	}
	return netlink.LinkSetDown
}

func (r *real) setUp(name string, on bool) error { return onLink(r.path, name, up(on)) }

func mtu(bytes int) func(netlink.Link) error {
	return func(l netlink.Link) error { return netlink.LinkSetMTU(l, bytes) }
}

func (r *real) setMTU(name string, bytes int) error { return onLink(r.path, name, mtu(bytes)) }

func held(p netip.Prefix, on bool) func(netlink.Link) error {
	return func(l netlink.Link) error {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if !on {
			return netlink.AddrDel(l, a)
		}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		return netlink.AddrAdd(l, a)
	}
}

func (r *real) setAddress(name string, p netip.Prefix, on bool) error {
	return onLink(r.path, name, held(p, on))
}

func (r *real) flushTable() error { return r.flush(nftables.TableFamilyBridge) }

func (r *real) flushMasquerade() error {
	return errors.Join(r.flush(nftables.TableFamilyIPv4), r.flush(nftables.TableFamilyIPv6))
}

func (r *real) flush(family nftables.TableFamily) error {
	return r.within(func() error {
		c := &nftables.Conn{}
		c.DelTable(c.AddTable(&nftables.Table{Name: "berth", Family: family}))
		return c.Flush()
	})
}

func (r *real) stopForwarding() error {
	return r.within(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/conf/all/forwarding", []byte("0"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("0"), 0))
	})
}

func (r *real) addInside(n int, name string) error {
	return sandbox.Within(r.paths[n], func() error {
		l := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
		if err := netlink.LinkAdd(l); err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	})
}

func (r *real) removeInside(n int, name string) error {
	return onLink(r.paths[n], name, netlink.LinkDel)
}

func (r *real) renameInside(n int, from, to string) error {
	return onLink(r.paths[n], from, func(l netlink.Link) error { return netlink.LinkSetName(l, to) })
}

func (r *real) setUpInside(n int, name string, on bool) error {
	return onLink(r.paths[n], name, up(on))
}

func (r *real) setMTUInside(n int, name string, bytes int) error {
	return onLink(r.paths[n], name, mtu(bytes))
}

func (r *real) setMACInside(n int, name string, mac net.HardwareAddr) error {
	return onLink(r.paths[n], name, func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, mac) })
}

func (r *real) setAddressInside(n int, name string, p netip.Prefix, on bool) error {
	return onLink(r.paths[n], name, held(p, on))
}

func (r *real) removeRoute(n int, name string, to netip.Prefix) error {
	return onLink(r.paths[n], name, func(l netlink.Link) error {
		dst := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
		for {
			err := netlink.RouteDel(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_NOWHERE})
			if errors.Is(err, syscall.ESRCH) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
}
