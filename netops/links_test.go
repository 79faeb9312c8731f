package netops

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// crowd adds links to the host's namespace that have nothing to do with Berth.
func crowd(t testing.TB, k *Kernel, from, to int) {
	t.Helper()
	must(t, k.host.With(func(s *rtnl.Socket) error {
		for i := from; i < to; i++ {
			err := s.Do(rtnl.MakeBridge(fmt.Sprint("other", i), randomMAC(k.bridges.random), UsualMTU))
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// aContainersLife is all that the kernel is asked for between an ADD and its DEL, with what goes on behind them.
func aContainersLife(t testing.TB, k *Kernel, p Port, id int) {
	t.Helper()
	_, err := k.EnsureBridge(Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16", "fd42::1/64")})
	must(t, err)
	_, err = k.Attach(p)
	must(t, err)
	must(t, k.Join(member(p, "stateless")))
	k.Announce(p)
	k.announcer.Wait()
	if !k.HasPort(p.Name) {
		t.Error("the port is not there")
	}
	if _, err := k.NamespaceAlive(id); err != nil {
		t.Error(err)
	}
	must(t, k.Detach(p.Name))
}

func TestAContainersLifeCostsTheSameHoweverManyLinksAndNamespacesThereAre(t *testing.T) {
	k, _ := newBridge(t)
	k.announcer.Apart = 0
	p, _ := newPort(t, 1)
	id, err := k.WatchNamespace(p.Netns)
	must(t, err)
	cost := func() uint64 { // in bytes: whoever reads a list, keeps it
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 10 {
			aContainersLife(t, k, p, id)
			_, err := k.Probe(t.Context(), "berth0", []netip.Addr{})
			must(t, err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	cost() // what is made once
	few := cost()
	crowd(t, k, 0, 300)
	for range 50 {
		other := newSpace(t)
		_, err := k.WatchNamespace(other.Open())
		must(t, err)
	}
	cost() // the news of the links are read meanwhile
	if many := cost(); many > 2*few {
		t.Errorf("with 300 links and 50 namespaces more, ten lives take %d bytes: without them they took %d", many, few)
	}
}

// BenchmarkAContainersLifeBesideOtherLinks tells the CPU time of ADD and DEL on a machine with so many links.
func BenchmarkAContainersLifeBesideOtherLinks(b *testing.B) {
	k, _ := newBridge(b)
	k.announcer.Apart = 0
	p, _ := newPort(b, 1)
	id, err := k.WatchNamespace(p.Netns)
	must(b, err)
	made, first := 2, 0.0
	for _, links := range []int{2, 1250} {
		crowd(b, k, made, links)
		made = max(made, links)
		b.Run(fmt.Sprint(links), func(b *testing.B) {
			before := cpu(b)
			for b.Loop() {
				aContainersLife(b, k, p, id)
			}
			each := (cpu(b) - before) / float64(b.N)
			if links == 2 {
				first = each
			}
			b.ReportMetric(each*1e3, "cpu-ms/op")
			b.ReportMetric(each/first, "x-of-2-links")
		})
	}
}

// cpu is the processor's time that this process has taken, in seconds.
func cpu(b *testing.B) float64 {
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
