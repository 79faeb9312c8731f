package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/agent"
	"github.com/berth-ipam/berth/netops"
)

// A Kernel is a host's kernel as one process has it open. It is an agent.Kernel.
type Kernel struct {
	lan  *LAN
	host *Host

	wake   chan struct{} // something is waiting
	done   chan struct{}
	events chan netops.Event

	// Under the LAN's lock.
	waiting []netops.Event
	closed  bool
	fence   fence
	bridges map[string]*remembered
	routing netops.Routing // as the process wants it
}

// remembered is what the process knows of a bridge.
type remembered struct {
	want  netops.Bridge
	whole bool // it was made as it is wanted
	mac   net.HardwareAddr
	had   []address
}

var _ agent.Kernel = (*Kernel)(nil)

// Open opens the kernel for a process, as netops.Open does.
func (h *Host) Open() (agent.Kernel, error) {
	k := &Kernel{lan: h.lan, host: h, wake: make(chan struct{}, 1), done: make(chan struct{}), events: make(chan netops.Event),
		bridges: map[string]*remembered{}}
	err := k.do("Open", func() error {
		k.fence.adopt(&h.nft)
		h.kernels = append(h.kernels, k)
		return nil
	})
	if err != nil {
		k.Close()
		return nil, err
	}
	go k.deliver()
	return k, nil
}

// Close ends the process's use of the kernel. It may be called for a process that was killed; more than once, too.
func (k *Kernel) Close() { k.lan.change(k.shut) }

func (k *Kernel) shut() {
	if !k.closed {
		k.closed = true
		close(k.done)
		k.host.kernels = slices.DeleteFunc(slices.Clone(k.host.kernels), func(other *Kernel) bool { return other == k })
	}
}

// Events reports what has ended or changed by itself. It is closed with the Kernel.
func (k *Kernel) Events() <-chan netops.Event { return k.events }

func (k *Kernel) queue(e netops.Event) {
	k.lan.mu.Lock()
	defer k.lan.mu.Unlock()
	k.waiting = append(k.waiting, e)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *Kernel) deliver() {
	defer close(k.events)
	for {
		select {
		case <-k.wake:
		case <-k.done:
			return
		}
		k.lan.mu.Lock()
		all := k.waiting
		k.waiting = nil
		k.lan.mu.Unlock()
		for _, e := range all {
			select {
			case k.events <- e:
			case <-k.done:
				return
			}
		}
	}
}

// do carries an operation out.
func (k *Kernel) do(op string, f func() error) error {
	return k.run(op, func(failed error, done bool) error {
		if failed != nil && !done {
			return failed
		}
		err := f()
		if err == nil {
			err = failed
		}
		return err
	})
}

// run carries an operation out that is told which fault it meets, alone among those of all hosts.
func (k *Kernel) run(op string, f func(failed error, done bool) error) (err error) {
	k.host.awake()
	faults := k.host.present()
	if faults.Before != nil {
		faults.Before(op)
	}
	var failed error
	var done bool
	if faults.Fail != nil {
		failed, done = faults.Fail(op)
	}
	k.lan.change(func() {
		if err = os.ErrClosed; !k.closed {
			err = f(failed, done)
		}
	})
	if faults.After != nil {
		faults.After(op)
	}
	if err != nil {
		return fmt.Errorf("netops: %s: %w", op, err)
	}
	return nil
}

// tellAddress tells of an address that the host has got or lost.
func (h *Host) tellAddress(a netip.Addr) {
	if !a.IsLinkLocalUnicast() {
		h.tell(netops.Event{Kind: netops.AddressChanged}, nil)
	}
}

// HostAddresses lists the addresses of this host, except link-local ones.
func (k *Kernel) HostAddresses() (all []netops.HostAddress, err error) {
	err = k.do("HostAddresses", func() error {
		for _, l := range k.host.links.ordered() {
			for _, a := range l.addresses {
				if !a.Addr().IsLinkLocalUnicast() {
					all = append(all, netops.HostAddress{Address: a.Addr(), Index: l.index})
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// LinkName is the name of a link of this host.
func (k *Kernel) LinkName(index int) (name string, err error) {
	err = k.do("LinkName", func() error {
		for _, l := range k.host.links {
			if l.index == index {
				name = l.name
			}
		}
		if name == "" {
			return fmt.Errorf("look up link %d: %w", index, unix.ENODEV)
		}
		return nil
	})
	return name, err
}

// Diagnose describes the host's settings that keep containers from communicating.
func (k *Kernel) Diagnose() (found []string) {
	err := k.do("Diagnose", func() error {
		for f, name := range families {
			for pool := range k.host.masquerade {
				if familyOf(pool.Addr()) == f && !k.host.forwards[f] {
					found = append(found, fmt.Sprintf("Pools masquerade, but this host forwards no %s packets: set %s/all/forwarding to 1.",
						name, settings[f]))
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		return []string{fmt.Sprintf("The host's network namespace cannot be looked at: %v.", err)}
	}
	return found
}

var (
	families = [...]string{"IPv4", "IPv6"}
	settings = [...]string{"/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"}
)

func familyOf(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}
