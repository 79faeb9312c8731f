package netops

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Check reports everything that is missing from a port or differs from what Attach made, in one error. A port's class
// is not looked at: see Classes.
func (k *Kernel) Check(p Port) error {
	if err := p.validate(); err != nil {
		return fmt.Errorf("netops: check %s: %w", p.Name, err)
	}
	if _, err := k.inspect(&p); err != nil {
		return fmt.Errorf("netops: check %s: %w", p.Name, err)
	}
	return nil
}

// faults collects what is not as it should be.
type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return errors.New(strings.Join(f, "; "))
}

// inspect reads a port's both ends, and answers as Attach does if they are as p wants them.
func (k *Kernel) inspect(p *Port) (Attached, error) {
	var found faults
	var bridge, host, inside link
	err := k.host.with(func(s *socket) (err error) {
		if bridge, err = present(s, p.Bridge); err != nil {
			return err
		}
		host, err = present(s, p.Name)
		return err
	})
	if err != nil {
		return Attached{}, err
	}
	mtu := p.MTU
	if mtu == 0 {
		mtu = bridge.mtu
	}
	checkHost(&found, p, host, bridge, mtu)
	err = within(p.Netns, func() error {
		s, err := openSocket()
		if err != nil {
			return err
		}
		defer s.close()
		if inside, err = present(s, p.Interface); err != nil {
			return err
		}
		return checkInside(&found, s, p, host, inside, mtu)
	})
	if err != nil {
		return Attached{}, err
	}
	return Attached{HostMAC: host.mac.String(), MAC: inside.mac.String(), MTU: mtu, Index: host.index}, found.err()
}

// present looks a link up; one that does not exist has no index.
func present(s *socket, name string) (link, error) {
	l, err := linkNamed(s, name)
	if errors.Is(err, unix.ENODEV) {
		return link{}, nil
	}
	return l, err
}

func checkHost(found *faults, p *Port, host, bridge link, mtu int) {
	if bridge.index == 0 {
		found.add("bridge %s does not exist", p.Bridge)
	}
	if host.index == 0 {
		found.add("port %s does not exist on the host", p.Name)
		return
	}
	if bridge.index != 0 && host.master != bridge.index {
		found.add("port %s is not on bridge %s", p.Name, p.Bridge)
	}
	if !host.up() {
		found.add("port %s is down", p.Name)
	}
	if host.mtu != mtu {
		found.add("port %s has MTU %d: want %d", p.Name, host.mtu, mtu)
	}
}

// checkInside runs in the container's namespace.
func checkInside(found *faults, s *socket, p *Port, host, inside link, mtu int) error {
	if inside.index == 0 {
		found.add("interface %s does not exist in the container", p.Interface)
		return nil
	}
	if host.index != 0 && (inside.peer != host.index || host.peer != inside.index) {
		found.add("interface %s is not the other end of port %s", p.Interface, p.Name)
	}
	if !inside.up() {
		found.add("interface %s is down", p.Interface)
	}
	if inside.mtu > mtu { // a smaller one may be a later plugin's wish
		found.add("interface %s has MTU %d: want at most %d", p.Interface, inside.mtu, mtu)
	}
	if mac := p.mac(); inside.mac.String() != mac.String() {
		found.add("interface %s has MAC %v: want %v", p.Interface, inside.mac, mac)
	}
	if err := checkAddresses(found, s, p, inside.index); err != nil {
		return err
	}
	return checkRoutes(found, s, p, inside.index)
}

func checkAddresses(found *faults, s *socket, p *Port, index int) error {
	held, err := addressesOf(s, unix.AF_UNSPEC, index)
	if err != nil {
		return err
	}
	for _, want := range p.Addresses {
		ok := false
		for _, a := range held {
			ok = ok || a.prefix == want
		}
		if !ok {
			found.add("interface %s lacks address %v", p.Interface, want)
		}
	}
	return nil
}

func checkRoutes(found *faults, s *socket, p *Port, index int) error {
	held, err := routes(s)
	if err != nil {
		return err
	}
	for _, want := range p.routes() {
		ok := false
		for _, r := range held {
			elsewhere := r.index != index && r.index != 0 // the first of several interfaces keeps its route
			ok = ok || r.to == want.To.Masked() && r.table == unix.RT_TABLE_MAIN && (elsewhere || r.index == index && r.via == want.Via)
		}
		if !ok {
			found.add("the route to %v via %v over %s is missing", want.To, want.Via, p.Interface)
		}
	}
	return nil
}
