package fence

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// BenchmarkPacketPath compares what a datagram costs from container to container over the bridge: without the table,
// with that of evidence mode (from a trusted port, without the rules about what a port may send, with them, and from an isolated port),
// and of strict mode while open. A send returns when the frame is in the receiver's socket, or dropped there, since nobody reads: so it
// is the whole path that is measured, and no waiting.
func BenchmarkPacketPath(b *testing.B) {
	k, host := newBridge(b)
	from, inA := newContainer(b, k, host, 1)
	p, inB := newContainer(b, k, host, 2)
	if !hears(b, inA, inB, p.Addresses[0].Addr(), patience) {
		b.Fatal("nothing passes")
	}
	fd := newDatagrams(b, inA, inB, p)
	modes := [...]struct {
		name string
		set  func()
	}{
		{"none", func() { flush(host) }},
		{"trusted", func() { must(b, k.EnsureTable()); must(b, k.Restrict(anyone(from.Name, "stateless"))) }},
		{"former", func() { withoutOrigin(b, k) }},
		{"evidence", func() { must(b, k.EnsureTable()); must(b, k.Restrict(from.in("stateless"))) }},
		{"isolated", func() { isolateOne(b, k, from) }},
		{"strict", func() { must(b, k.Restrict(from.in("stateless"))); must(b, k.SetFence(true, nil)); prove(b, k, long()) }},
	}
	const frames = 500
	var times [len(modes)][]float64 // of a frame, in nanoseconds
	for b.Loop() {
		for i, mode := range modes {
			mode.set()
			send(b, fd, frames/10) // the caches fill
			start := time.Now()
			send(b, fd, frames)
			times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/frames)
		}
		must(b, k.SetFence(false, nil))
		must(b, k.Separate(nil))
	}
	b.ReportMetric(0, "ns/op")
	for i, mode := range modes {
		b.ReportMetric(quick(times[i]), fmt.Sprintf("%s-ns/frame", mode.name))
		b.ReportMetric(quick(times[i])/quick(times[0]), fmt.Sprintf("%s/none", mode.name))
	}
}

// isolateOne isolates a port whose neighbour is not, so that what it sends is judged and passes.
func isolateOne(b *testing.B, k *Table, p port) {
	must(b, k.Separate([]Range{{p.Addresses[0].Addr(), p.Addresses[0].Addr()}}))
	must(b, k.Restrict(p.isolatedIn("stateless")))
}

// withoutOrigin takes the rules away that look from where a frame comes.
func withoutOrigin(b *testing.B, k *Table) {
	must(b, k.commit(func(c *nftables.Conn) error {
		chain := &nftables.Chain{Name: sides[0].name, Table: filterTable}
		c.FlushChain(chain)
		addRules(c, chain, cut(filterTable, sides[0].key))
		return nil
	}))
}

// newDatagrams is a socket from which datagrams go to a port's first address.
func newDatagrams(b *testing.B, from, to space, p port) (fd int) {
	b.Helper()
	open := func() (fd int, err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			b.Cleanup(func() { unix.Close(fd) })
		}
		return fd, err
	}
	address := &unix.SockaddrInet4{Port: 9, Addr: p.Addresses[0].Addr().As4()}
	to.Do(func() error {
		fd, err := open()
		if err != nil {
			return err
		}
		return unix.Bind(fd, address)
	})
	from.Do(func() (err error) {
		if fd, err = open(); err != nil {
			return err
		}
		return unix.Connect(fd, address)
	})
	return fd
}

func send(b *testing.B, fd, n int) {
	b.Helper()
	datagram := make([]byte, 64)
	for range n {
		if _, err := unix.Write(fd, datagram); err != nil {
			b.Fatal(err)
		}
	}
}

// quick is the time that a tenth of the rounds undercut: what others on the machine do makes rounds slower only.
func quick(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/10]
}
