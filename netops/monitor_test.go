package netops

import (
	"fmt"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// next is the next event of a kind, or a failure.
func next(t *testing.T, k *Kernel, kind EventKind) Event {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case e := <-k.Events():
			if e.Kind == kind {
				return e
			}
		case <-deadline:
			t.Fatal("no such event within 20 s")
		}
	}
}

// vanish ends a container's namespace.
func vanish(t *testing.T, p Port, s space) {
	t.Helper()
	if p.Netns != nil {
		p.Netns.Close()
	}
	must(t, sandbox.Remove(s.Path))
}

func TestTheEndOfANamespaceIsReportedAsTheEndOfItsPort(t *testing.T) {
	k, _ := newBridge(t)
	p, inside := newContainer(t, k, 1)
	vanish(t, p, inside)
	if e := next(t, k, PortGone); e != (Event{Kind: PortGone, Port: p.Name}) {
		t.Errorf("event %+v", e)
	}
}

func TestADetachIsNotReportedAsAnEvent(t *testing.T) {
	k, _ := newBridge(t)
	a, _ := newContainer(t, k, 1)
	b, inB := newContainer(t, k, 2)
	must(t, k.Detach(a.Name))
	vanish(t, b, inB)
	if e := next(t, k, PortGone); e.Port != b.Name {
		t.Errorf("event %+v: want one of %s alone", e, b.Name)
	}
}

func TestLeavingABridgeIsNotAPortsEnd(t *testing.T) {
	k, host := newBridge(t)
	a, _ := newContainer(t, k, 1)
	b, inB := newContainer(t, k, 2)
	host.Do(func() error { return netlink.LinkSetNoMaster(host.LinkAt(a.Name)) })
	vanish(t, b, inB)
	if e := next(t, k, PortGone); e.Port != b.Name {
		t.Errorf("event %+v: want one of %s alone", e, b.Name)
	}
}

func TestTheEndOfAWatchedNamespaceWithoutAPortIsReported(t *testing.T) {
	k, _ := newHost(t)
	s := newSpace(t)
	ns := s.Open()
	id, err := k.WatchNamespace(ns)
	must(t, err)
	again, err := k.WatchNamespace(ns)
	must(t, err)
	if id != again || id < firstID {
		t.Errorf("ids %d, then %d: want one, from %d on", id, again, firstID)
	}
	if alive, err := k.NamespaceAlive(id); err != nil || !alive {
		t.Errorf("alive: %v, error %v", alive, err)
	}
	vanish(t, Port{Netns: ns}, s)
	if e := next(t, k, NamespaceGone); e != (Event{Kind: NamespaceGone, NamespaceID: id}) {
		t.Errorf("event %+v", e)
	}
	if alive, err := k.NamespaceAlive(id); err != nil || alive {
		t.Errorf("alive: %v, error %v", alive, err)
	}
}

func TestANamespaceWithAnIDOfTheKernelsKeepsIt(t *testing.T) {
	k, host := newHost(t)
	s := newSpace(t)
	cable(t, host, "other", s, "eth0")
	host.LinkAt("other") // to look at it gives the peer's namespace an id
	id, err := k.WatchNamespace(s.Open())
	must(t, err)
	if id >= firstID {
		t.Errorf("id %d: want the kernel's own", id)
	}
}

func TestANamespaceIsKnownByTheAddressInIt(t *testing.T) {
	k, _ := newBridge(t)
	p, inside := newContainer(t, k, 1)
	id, err := k.WatchNamespace(p.Netns)
	must(t, err)
	for _, a := range p.Addresses {
		if has, err := k.NamespaceHas(id, a.Addr()); err != nil || !has {
			t.Errorf("%v: %v, error %v: want it held", a, has, err)
		}
		if has, err := k.NamespaceHas(id, a.Addr().Next()); err != nil || has {
			t.Errorf("%v: %v, error %v: want it not held", a.Addr().Next(), has, err)
		}
	}
	vanish(t, p, inside)
	eventually(t, "the id ends", func() bool { alive, err := k.NamespaceAlive(id); return err == nil && !alive })
	if has, err := k.NamespaceHas(id, p.Addresses[0].Addr()); err != nil || has {
		t.Errorf("after the end: %v, error %v", has, err)
	}
}

func TestNamespacesHaveIDsOfTheirOwn(t *testing.T) {
	a, b := newSpace(t), newSpace(t)
	first, err := NamespaceID(a.Open())
	must(t, err)
	again, err := NamespaceID(a.Open())
	must(t, err)
	other, err := NamespaceID(b.Open())
	must(t, err)
	if first == 0 || first != again || first == other {
		t.Errorf("ids %d, %d of one, %d of another", first, again, other)
	}
}

func TestEventsThatTheKernelDropsAreReportedAsAnOverrun(t *testing.T) {
	k, host := newBridge(t)
	p, _ := newContainer(t, k, 1)
	raw, err := k.monitor.feeds[0].SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		must(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096))
	}))
	k.bridges.mu.Lock() // the listener waits for it
	host.Do(func() error {
		for i := range 50 {
			if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprint("b", i)}}); err != nil {
				return err
			}
		}
		return nil
	})
	k.bridges.mu.Unlock()
	next(t, k, Overrun)
	must(t, k.Detach(p.Name))
}

func TestEventsEndWithTheKernel(t *testing.T) {
	k, _ := newHost(t)
	k.Close()
	if e, open := <-k.Events(); open {
		t.Errorf("event %+v after the end", e)
	}
}
