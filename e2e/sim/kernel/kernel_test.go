package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-ipam/berth/agent"
	"github.com/berth-ipam/berth/netops"
)

var gateway = netip.MustParsePrefix("10.42.0.1/16")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a host's kernel, with a bridge that has the NIC as its uplink.
func open(t *testing.T, h *Host) agent.Kernel {
	t.Helper()
	k, err := h.Open()
	must(t, err)
	t.Cleanup(k.Close)
	_, err = k.EnsureBridge(netops.Bridge{Name: "berth0", Uplink: "eth0"})
	must(t, err)
	return k
}

// attach gives a new container of a host the address 10.42.0.n, in no class.
func attach(t *testing.T, k agent.Kernel, h *Host, n int) (netops.Port, *Namespace) {
	t.Helper()
	ns, err := h.NewNamespace()
	must(t, err)
	f, err := ns.Open()
	must(t, err)
	t.Cleanup(func() { f.Close() })
	p := netops.Port{
		Name: netops.PortName("net", fmt.Sprint("c", n), "eth0"), Alias: fmt.Sprint("c", n), Bridge: "berth0", Netns: f, Interface: "eth0",
		Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.42.0.%d/16", n))}, Gateways: []netip.Addr{gateway.Addr()},
	}
	_, err = k.Attach(p)
	must(t, err)
	return p, ns
}

// passing is who answers for an address and passes.
func passing(l *LAN, p netops.Port) (ports []string) {
	for _, a := range l.Answers(p.Addresses[0].Addr()) {
		if a.Passes {
			ports = append(ports, a.Port)
		}
	}
	return ports
}

func expectPasses(t *testing.T, l *LAN, p netops.Port, what string, want bool) {
	t.Helper()
	if got := len(passing(l, p)) == 1; got != want {
		t.Errorf("%s: it passes: %v, want %v", what, got, want)
	}
}

func TestAClassClosesWhenItsTimeIsOverWhateverBecomesOfTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLAN(t.TempDir())
		h := l.Host("n1")
		k := open(t, h)
		p, _ := attach(t, k, h, 2)
		expectPasses(t, l, p, "in no class", false)
		must(t, k.Join(member(p, "stateless")))
		expectPasses(t, l, p, "in a class", true)
		must(t, k.SetFence(true, map[string]time.Duration{"stateless": 10 * time.Second}))
		must(t, k.Arm(map[string]time.Duration{"stateless": 20 * time.Second}))
		time.Sleep(9 * time.Second)
		must(t, k.Open())
		var changes atomic.Int64
		l.Changed = func() { changes.Add(1) }
		k.Close()
		time.Sleep(11*time.Second - time.Nanosecond)
		expectPasses(t, l, p, "by the second proof", true)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		expectPasses(t, l, p, "after it", false)
		if n := changes.Load(); n < 2 {
			t.Errorf("the judge was told %d times: want once for each slot", n)
		}
		h.FlushTable()
		expectPasses(t, l, p, "without a table", true)
		again, err := h.Open()
		must(t, err)
		defer again.Close()
		expectPasses(t, l, p, "with an empty table", false)
	})
}

func TestTheTimersOfAHostThatSleepsStandStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLAN(t.TempDir())
		h := l.Host("n1")
		k := open(t, h)
		p, _ := attach(t, k, h, 2)
		must(t, k.Join(member(p, "stateful")))
		must(t, k.SetFence(true, map[string]time.Duration{"stateful": 10 * time.Second}))
		h.Sleep(time.Hour)
		if got := l.Answers(p.Addresses[0].Addr()); len(got) != 0 {
			t.Errorf("a host that sleeps answers %+v", got)
		}
		start := time.Now()
		left, err := k.Passing()
		must(t, err)
		if slept := time.Since(start); slept != time.Hour || left["stateful"] != 10*time.Second {
			t.Errorf("the call returned after %v, with %v left", slept, left)
		}
		expectPasses(t, l, p, "after its sleep", true)
		time.Sleep(10 * time.Second)
		expectPasses(t, l, p, "when its time is over", false)
	})
}

func TestAProbeHearsThoseWhoPassOnTheSameWireAndTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLAN(t.TempDir())
		here, there := l.Host("n1"), l.Host("n2")
		k, other := open(t, here), open(t, there)
		p, _ := attach(t, other, there, 2)
		q, _ := attach(t, k, here, 3)
		must(t, other.Join(member(p, "stateless")))
		must(t, k.Join(member(q, "stateless")))
		hears := func(want int, took time.Duration) {
			t.Helper()
			start := time.Now()
			found, err := k.Probe(t.Context(), "berth0", []netip.Addr{p.Addresses[0].Addr(), q.Addresses[0].Addr()})
			must(t, err)
			if d := time.Since(start); len(found) != want || d != took {
				t.Errorf("it found %v after %v: want %d after %v", found, d, want, took)
			}
		}
		hears(2, 0)
		l.Cut(there, true)
		hears(1, 300*time.Millisecond)
		if got := l.Answers(p.Addresses[0].Addr()); len(got) != 1 || !got[0].Cut {
			t.Errorf("of a host that is cut off: %+v", got)
		}
		l.Cut(there, false)
		must(t, other.Leave(p.Name))
		time.AfterFunc(150*time.Millisecond, func() { must(t, other.Join(member(p, "stateless"))) })
		hears(2, 200*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := k.Probe(ctx, "berth0", []netip.Addr{gateway.Addr()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestTheEndOfANamespaceTakesItsPortAndIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLAN(t.TempDir())
		h := l.Host("n1")
		k := open(t, h)
		p, ns := attach(t, k, h, 2)
		id, err := k.WatchNamespace(p.Netns)
		must(t, err)
		h.SetFaults(Faults{News: func(e netops.Event) []time.Duration {
			if e.Kind == netops.PortGone {
				return []time.Duration{time.Second, 2 * time.Second}
			}
			return []time.Duration{0}
		}})
		ns.End()
		if k.HasPort(p.Name) || len(l.Answers(p.Addresses[0].Addr())) > 0 {
			t.Error("the port is there")
		}
		var got []netops.Event
		for range 3 {
			for e := range k.Events() {
				if e.Kind == netops.PortGone || e.Kind == netops.NamespaceGone {
					got = append(got, e)
					break
				}
			}
		}
		gone := netops.Event{Kind: netops.PortGone, Port: p.Name}
		if want := []netops.Event{{Kind: netops.NamespaceGone, NamespaceID: id}, gone, gone}; !slices.Equal(got, want) {
			t.Errorf("events %+v: want %+v", got, want)
		}
		if alive, err := k.NamespaceAlive(id); err != nil || alive {
			t.Errorf("alive: %v, error %v", alive, err)
		}
		if _, err := k.FindNamespace(ns.Path(), ns.inode); err == nil {
			t.Error("it is found")
		}
	})
}

func TestStateOutlivesAProcessAndNotABoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLAN(t.TempDir())
		h := l.Host("n1")
		k := open(t, h)
		p, ns := attach(t, k, h, 2)
		must(t, k.Join(member(p, "stateless")))
		k.Close()
		if _, err := k.Ports(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a closed kernel answers: error %v", err)
		}
		k = open(t, h)
		classes, err := k.Classes()
		must(t, err)
		if !k.HasPort(p.Name) || classes[p.Name] != "stateless" {
			t.Error("the port has not outlived the process")
		}
		h.Reboot()
		for range k.Events() { // what ended by the boot may still be told; for one that outlived it this would have no end
		}
		k = open(t, h)
		if k.HasPort(p.Name) || ns.Alive() || len(l.Answers(p.Addresses[0].Addr())) > 0 {
			t.Error("something outlives the boot")
		}
	})
}

func TestACutThatFailedIsCarriedOutByTheNextChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLAN(t.TempDir())
		h := l.Host("n1")
		k := open(t, h)
		p, _ := attach(t, k, h, 2)
		for done, passes := range map[bool]bool{false: true, true: false} {
			must(t, k.Join(member(p, "stateless")))
			h.SetFaults(Faults{Fail: func(op string) (error, bool) { return errors.New("no answer"), done }})
			if k.Leave(p.Name) == nil {
				t.Error("it did not fail")
			}
			expectPasses(t, l, p, fmt.Sprintf("after a Leave that failed, done %v", done), passes)
			h.SetFaults(Faults{})
			must(t, k.Leave("bthother"))
			expectPasses(t, l, p, "after the next change", false)
		}
	})
}

func TestAProcessThatEndsWithinAnAttachLeavesHalfAPortWhichTheNextMakesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLAN(t.TempDir())
		h := l.Host("n1")
		k := open(t, h)
		p, _ := attach(t, k, h, 2)
		must(t, k.Detach(p.Name))
		h.SetFaults(Faults{Before: func(op string) {
			if op == "Attach, made" {
				runtime.Goexit()
			}
		}})
		go func() {
			_, err := k.Attach(p)
			t.Errorf("it returned, with error %v", err)
		}()
		synctest.Wait()
		h.SetFaults(Faults{})
		k.Close()
		k = open(t, h)
		if err := k.Check(p); !k.HasPort(p.Name) || err == nil || !strings.Contains(err.Error(), "lacks address") {
			t.Errorf("half a port has the faults %v", err)
		}
		_, err := k.Attach(p)
		must(t, err)
		must(t, k.Check(p))
		must(t, k.Join(member(p, "stateless")))
		expectPasses(t, l, p, "made anew", true)
	})
}

func TestABridgeTakesNoMorePortsThanTheKernelsDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLAN(t.TempDir())
		h := l.Host("n1")
		k := open(t, h)
		p, _ := attach(t, k, h, 2)
		for n := range mostPorts - 2 { // one is the uplink
			p.Name, p.Interface = fmt.Sprint("bth", n), fmt.Sprint("eth", n+1)
			if _, err := k.Attach(p); err != nil {
				t.Fatal(err)
			}
		}
		p.Name, p.Interface = "bthmore", "more"
		_, err := k.Attach(p)
		if full, ok := errors.AsType[*netops.FullError](err); !ok || full.Bridge != "berth0" || k.HasPort(p.Name) {
			t.Errorf("error %v", err)
		}
		if faults, err := k.HostFaults(netops.Bridge{Name: "berth0"}, nil); err != nil || len(faults) != 1 || faults[0].Kind != "bridge-full" {
			t.Errorf("faults %+v, error %v", faults, err)
		}
	})
}
