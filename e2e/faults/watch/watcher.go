// Package watch asks a network many times a second who has which address, and tells every answer.
package watch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/internal/sandbox"
)

const (
	round    = 50 * time.Millisecond // from one request for an address of interest to the next
	rare     = 10                    // an address of no interest is asked for in one round of so many
	most     = 50                    // requests in a round; above it those of interest take turns
	interest = 5 * time.Second       // how long an address is of interest after it was heard or named
	nic      = "watch0"
)

// A Watcher sends requests for addresses and reports the answers.
type Watcher struct {
	wire   Wire
	clock  func() time.Duration
	heard  func(check.Sighting)
	socket int
	index  int // of the interface

	mu      sync.Mutex
	watched []*target
	byName  map[netip.Addr]*target
	rounds  int
	turn    int
	turns   []check.Turn
	asked   int
	answers int
	missed  map[question]check.MAC // requests to one machine whose slot came round before an answer, and which machine
}

// A question is one request.
type question struct {
	sent    time.Duration
	address netip.Addr
}

// A target is an address that is asked for.
type target struct {
	address netip.Addr
	until   time.Duration // of interest
	sent    [slots]time.Duration
	former  [slots]time.Duration // the round before that with the same slot
	direct  bool                 // the next request goes to the holder alone
	due     [slots]check.MAC     // the machine to which the latest of the slot went, and which has not answered it; zero: none
	holder  check.MAC            // who answered last; zero: nobody yet
}

// Plug makes a namespace at path whose interface is a port of a bridge of this namespace, and has addresses.
func Plug(bridge, path string, addresses ...netip.Prefix) error {
	link, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("watch: find %s: %w", bridge, err)
	}
	if err := sandbox.Namespace(path); err != nil {
		return err
	}
	space, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer space.Close()
	cable := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "to-watch", MasterIndex: link.Attrs().Index, Flags: net.FlagUp},
		PeerName:  nic, PeerNamespace: netlink.NsFd(space), PeerHardwareAddr: seat[:],
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("watch: plug into %s: %w", bridge, err)
	}
	inside, err := netlink.NewHandleAt(space, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	end, err := inside.LinkByName(nic)
	if err != nil {
		return err
	}
	err = inside.LinkSetUp(end)
	for _, a := range addresses {
		const usableAtOnce = 0x02 // IFA_F_NODAD
		own := &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}
		err = errors.Join(err, inside.AddrAdd(end, &netlink.Addr{IPNet: own, Flags: usableAtOnce}))
	}
	return err
}

// New makes a watcher of a wire in a namespace that Plug made. The clock gives the time of the run; heard is called for each
// answer, by one goroutine.
func New(path string, wire Wire, clock func() time.Duration, heard func(check.Sighting)) (*Watcher, error) {
	w := &Watcher{wire: wire, clock: clock, heard: heard, byName: map[netip.Addr]*target{}, missed: map[question]check.MAC{}}
	err := sandbox.Within(path, w.open)
	if err != nil {
		return nil, fmt.Errorf("watch: open a packet socket in %s: %w", path, err)
	}
	return w, nil
}

func (w *Watcher) open() (err error) {
	link, err := net.InterfaceByName(nic)
	if err != nil {
		return err
	}
	w.index = link.Index
	if w.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			unix.Close(w.socket)
		}
	}()
	wait := unix.Timeval{Usec: 100_000}
	return errors.Join(
		unix.SetsockoptInt(w.socket, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(w.socket, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(w.socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.SetsockoptTimeval(w.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptPacketMreq(w.socket, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(w.index), Type: unix.PACKET_MR_PROMISC}),
		unix.Bind(w.socket, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: w.index}),
	)
}

// Watch asks for addresses from now on: rarely, until somebody answers.
func (w *Watcher) Watch(addresses ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addresses {
		w.watch(a)
	}
}

func (w *Watcher) watch(a netip.Addr) *target {
	t := w.byName[a]
	if t == nil {
		t = &target{address: a}
		w.byName[a] = t
		w.watched = append(w.watched, t)
	}
	return t
}

// Mind asks for addresses as often as it can for a while.
func (w *Watcher) Mind(addresses ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addresses {
		w.watch(a).until = w.clock() + interest
	}
}

// Counts are how many requests were sent, and how many answers came.
func (w *Watcher) Counts() (asked, answers int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked, w.answers
}

// Run asks and listens until ctx ends, and closes the watcher.
func (w *Watcher) Run(ctx context.Context) error {
	defer unix.Close(w.socket)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.listen(ctx) }()
	var gauge sync.WaitGroup
	defer func() { stop(); gauge.Wait() }()
	gauge.Go(func() { w.gauge(ctx) })
	tick := time.NewTicker(round)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return <-done
		case err := <-done:
			return err
		case <-tick.C:
			w.ask()
		}
	}
}

// ask sends the requests of one round.
func (w *Watcher) ask() {
	w.mu.Lock()
	defer w.mu.Unlock()
	slot, now := w.rounds%slots, w.clock()
	var hot []*target
	for i, t := range w.watched {
		if t.until >= now {
			hot = append(hot, t)
		} else if i%rare == w.rounds%rare {
			w.send(t, slot)
		}
	}
	for range min(len(hot), most) {
		w.send(hot[w.turn%len(hot)], slot)
		w.turn++
	}
	w.rounds++
}

func (w *Watcher) send(t *target, slot int) {
	if t.due[slot] != (check.MAC{}) {
		w.missed[question{t.sent[slot], t.address}] = t.due[slot]
	}
	to := t.whom()
	t.former[slot], t.sent[slot] = t.sent[slot], w.clock()
	t.due[slot] = to
	for _, frame := range w.wire.requests(t.address, slot, to) {
		if unix.Sendto(w.socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index}) != nil {
			t.due[slot] = check.MAC{}
		}
		w.asked++
	}
}

// whom is who the next request for an address goes to. Every other one asks everybody, which finds who else has it, and fills
// the queues of a busy machine until it drops some; the others ask who answered last, whom nothing keeps from an answer. It
// alternates by address: one of no interest is asked for in rounds of one parity alone.
func (t *target) whom() (to check.MAC) {
	if t.direct {
		to = t.holder
	}
	t.direct = !t.direct
	return to
}

// Missed are the requests to the one who had answered before that nobody answered. The answer to one of the last rounds may
// still come: those are not among them.
func (w *Watcher) Missed() []check.Miss {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []check.Miss
	for q, to := range w.missed {
		all = append(all, check.Miss{Sent: q.sent, Address: q.address, To: to})
	}
	return all
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
