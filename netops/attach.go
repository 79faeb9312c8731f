package netops

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A ForeignError says that the container has an interface of the wanted name already, which Berth did not make.
type ForeignError struct{ Interface, Netns string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("network namespace %s has an interface %s already: want it removed, or another name",
		e.Netns, e.Interface)
}

// A FullError says that a bridge has as many ports as the kernel lets one have (BR_MAX_PORTS).
type FullError struct{ Bridge string }

func (e *FullError) Error() string {
	return fmt.Sprintf("bridge %s has %d ports, and the kernel lets a bridge have no more: give some of this node's containers "+
		"another bridge (a network with another \"bridge\"), or spread them over more nodes",
		e.Bridge, maxPorts)
}

// maxPorts is how many ports a Linux bridge can have: BR_MAX_PORTS is 1024, and number 0 is none.
const maxPorts = 1023

// Attach makes a port, wired and usable when it returns, but in no traffic class: until Join nothing passes. One that is
// there just so is left alone, with its class; one that differs is made anew. It returns a *ForeignError where
// the interface is another's. After an error nothing of the port is left.
func (k *Kernel) Attach(p Port) (Attached, error) {
	err := p.validate()
	if err == nil && k.isHome(p.Netns) {
		err = fmt.Errorf("network namespace %s is the host's own: want a container's", p.Netns.Name())
	}
	if err != nil {
		return Attached{}, fmt.Errorf("netops: attach %s: %w", p.Name, err)
	}
	made, err := k.attach(&p)
	if errors.Is(err, errPresent) {
		made, err = k.attachAgain(&p)
	}
	if err != nil {
		return Attached{}, fmt.Errorf("netops: attach %s: %w", p.Name, err)
	}
	return made, nil
}

// attachAgain is for a port or an interface that exists.
func (k *Kernel) attachAgain(p *Port) (Attached, error) {
	if made, err := k.inspect(p); err == nil {
		return made, nil
	}
	if err := k.detach(p.Name); err != nil {
		return Attached{}, err
	}
	made, err := k.attach(p)
	if errors.Is(err, errPresent) {
		return Attached{}, &ForeignError{p.Interface, p.Netns.Name()}
	}
	return made, err
}

// errPresent says that the host or the container has a link of the wanted name.
var errPresent = errors.New("an interface of its names exists")

func (k *Kernel) attach(p *Port) (made Attached, err error) {
	err = k.monitor.make(p.Name, func() error {
		return k.host.with(func(s *socket) error {
			host, err := k.create(s, p)
			if err != nil {
				return err
			}
			made = Attached{HostMAC: host.mac.String(), MAC: p.mac().String(), MTU: host.mtu, Index: host.index}
			if err := k.finish(s, p, host); err != nil {
				return errors.Join(err, k.detach(p.Name))
			}
			return nil
		})
	})
	return made, err
}

// create makes the veth pair, its host's end up and on the bridge, its peer down but under its name inside the
// container.
func (k *Kernel) create(s *socket, p *Port) (host link, err error) {
	bridge, err := linkNamed(s, p.Bridge)
	switch {
	case errors.Is(err, unix.ENODEV):
		return host, fmt.Errorf("bridge %q does not exist", p.Bridge)
	case err != nil:
		return host, err
	case bridge.kind != "bridge":
		return host, fmt.Errorf("%q is not a bridge", p.Bridge)
	}
	mtu := p.MTU
	if mtu == 0 {
		mtu = bridge.mtu
	}
	// The kernel takes no alias at a link's creation.
	dress := changeLink(0, "set alias of "+p.Name, unix.IFF_UP, textAttr(unix.IFLA_IFNAME, p.Name))
	if k.speaksV6 && mtu >= minimumV6 {
		dress.AddData(noLinkLocal())
	}
	if p.Alias != "" {
		dress.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(shortAlias(p.Alias))))
	}
	pair := pairRequest(p, bridge.index, mtu)
	err = s.get(func(_ uint16, body []byte) { host = parseLink(body) }, pair, dress, askLink(p.Name))
	switch {
	case errors.Is(err, unix.EEXIST):
		return host, errPresent
	case errors.Is(err, unix.EXFULL):
		return host, &FullError{p.Bridge}
	case err != nil:
		return host, errors.Join(err, k.detach(p.Name))
	}
	if names := altNames(p.Name, p.Alias); len(names) > 0 {
		// A kernel that has no alternative names has the hash of the words alone: whose the port is, its name can prove, too.
		if err := s.do(nameAlternatively(p.Name, names)); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return host, errors.Join(err, k.detach(p.Name))
		}
	}
	return host, nil
}

// pairRequest asks for both ends in one message, so that neither is ever renamed or moved.
func pairRequest(p *Port, bridge, mtu int) request {
	// struct ifinfomsg begins the peer's description.
	peer := nl.NewRtAttr(nl.VETH_INFO_PEER, ifInfo(0, 0).Serialize())
	peer.AddChild(textAttr(unix.IFLA_IFNAME, p.Interface))
	peer.AddChild(nl.NewRtAttr(unix.IFLA_ADDRESS, p.mac()))
	peer.AddChild(numberAttr(unix.IFLA_MTU, mtu))
	peer.AddChild(numberAttr(unix.IFLA_NET_NS_FD, int(p.Netns.Fd())))
	return ask(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, "make veth pair "+p.Name+", "+p.Interface, ifInfo(0, 0),
		textAttr(unix.IFLA_IFNAME, p.Name),
		numberAttr(unix.IFLA_MTU, mtu),
		numberAttr(unix.IFLA_MASTER, bridge),
		nested(unix.IFLA_LINKINFO, nl.NewRtAttr(unix.IFLA_INFO_KIND, []byte("veth")), nested(unix.IFLA_INFO_DATA, peer)))
}

// finish does what the container's end needs, and sees that both ends carry.
func (k *Kernel) finish(s *socket, p *Port, host link) error {
	if err := k.table.leave(p.Name); err != nil { // it may have been left by a port of this name before
		return err
	}
	if err := within(p.Netns, func() error { return dressInside(p, host.peer) }); err != nil {
		return err
	}
	_, err := linkNamed(s, p.Name)
	return err
}

// loopback's index is the same in every namespace.
const loopback = 1

// dressInside runs in the container's namespace.
func dressInside(p *Port, index int) error {
	if err := refuseAdvertisements(p.Interface); err != nil {
		return err
	}
	if p.hasV6() {
		if err := allowV6(p.Interface); err != nil {
			return err
		}
	}
	s, err := openSocket()
	if err != nil {
		return err
	}
	defer s.close()
	requests := []request{
		changeLink(loopback, "bring lo up", unix.IFF_UP),
		changeLink(index, "bring "+p.Interface+" up", unix.IFF_UP),
	}
	for _, a := range p.Addresses {
		requests = append(requests, putAddress(index, plain(a), fmt.Sprintf("add address %v to %s", a, p.Interface)))
	}
	held, err := routes(s)
	if err != nil {
		return err
	}
	for _, r := range p.routes() {
		if standingOf(r, index, held) != absent {
			continue // another interface of the container leads there already: the first one's route stays
		}
		put := putWay(p, index, r, fmt.Sprintf("add route to %v via %v", r.To, r.Via))
		put.lenient = true // a route to the link's own subnet came with its address
		requests = append(requests, put)
	}
	return s.do(requests...)
}
