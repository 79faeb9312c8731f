package agent

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

// longest gives a container the longest names that there can be.
func longest(c wire.Container) wire.Container {
	pad := func(name string) string { return name + strings.Repeat("x", 253-len(name)) }
	c.Network, c.ID, c.Interface = pad(c.Network), pad(c.ID), strings.Repeat("<", 15)
	c.Namespace, c.App = pad(c.Namespace), pad(c.App)
	if c.Member != "" {
		c.Member = pad(c.Member)
	}
	return c
}

// loseJournal stops the agent and removes its journal.
func (r *rig) loseJournal() {
	r.t.Helper()
	r.until("all is published", func() bool { return r.agent.backlog.Len() == 0 })
	r.stop()
	check(r.t, os.Remove(r.agent.Journal.Path()))
}

func TestALostJournalLosesNobodyHoweverLongTheNames(t *testing.T) {
	r := newRig(t)
	a, b := longest(r.stateless("a", "web")), longest(r.stateful("b", "db", "db-0"))
	addrA, addrB := r.add(a), r.add(b)
	r.loseJournal()
	r.begin()
	for _, c := range []wire.Container{a, b} {
		r.until("it is taken in", func() bool { return r.agent.Journal.Get(attachmentOf(c)) != nil })
		e := r.agent.Journal.Get(attachmentOf(c))
		if e == nil || !r.passes(e.Wiring.Port) {
			t.Fatalf("%.20s is %v", c.ID, e)
		}
		if e.App.Namespace != c.Namespace || e.App.Name != c.App || e.Member != c.Member {
			t.Errorf("%.20s is taken in as %v %s", c.ID, e.App, e.Member)
		}
	}
	if x, y := r.add(a), r.add(b); x != addrA || y != addrB {
		t.Errorf("after the loss %s and %s, before %s and %s", x, y, addrA, addrB)
	}
	r.del(a)
	r.del(b)
	r.empty()
}

// unreadable makes the aliases of all ports unreadable, as kernels without alternative names and former agents leave them.
func (r *rig) unreadable() (ports []string) {
	r.t.Helper()
	links, err := net.Interfaces()
	check(r.t, err)
	for _, l := range links {
		if strings.HasPrefix(l.Name, "bth") {
			link, err := netlink.LinkByName(l.Name)
			check(r.t, err)
			check(r.t, netlink.LinkSetAlias(link, "x"))
			ports = append(ports, l.Name)
		}
	}
	return ports
}

func TestAPortThatCannotBeReadIsCutAndToldAndPassesOnlyIfEtcdNamesItsContainer(t *testing.T) {
	r := newRig(t)
	a, b, c := r.stateless("a", "web"), r.stateful("b", "db", "db-0"), r.stateless("c", "web")
	addrA, addrB, addrC := r.add(a), r.add(b), r.add(c)
	r.loseJournal()
	ports := r.unreadable()
	r.put("assignments/default/"+addrC.String(), "") // nobody knows any more who c is
	r.etcd.Stop()
	r.begin()
	r.until("all are cut and told", func() bool {
		told := 0
		for _, f := range r.agent.Findings.List() {
			if f.Kind == "port-unread" {
				told++
			}
		}
		return told == len(ports)
	})
	for _, port := range ports {
		if !r.agent.Kernel().HasPort(port) || r.passes(port) {
			t.Errorf("%s is there: %v, passes: %v", port, r.agent.Kernel().HasPort(port), r.passes(port))
		}
	}
	r.startEtcd()
	r.until("the agent is ready", func() bool { return r.agent.reporter.NotReady() == nil })
	for _, named := range []wire.Container{a, b} {
		if e := r.agent.Journal.Get(attachmentOf(named)); e == nil || !r.passes(e.Wiring.Port) {
			t.Errorf("etcd names %s, and it is %v", named.ID, e)
		}
	}
	if held, err := r.store.Reservations.Of(t.Context(), "default", addrB); err != nil || held.Holder == nil {
		t.Errorf("the member that runs was let go of: %+v, %v", held, err)
	}
	unread := plan.PortName(attachmentOf(c))
	if !r.agent.Kernel().HasPort(unread) || r.passes(unread) || !r.found("port-unread") {
		t.Errorf("nobody names %s: it is there %v, passes %v, is told %v", unread, r.agent.Kernel().HasPort(unread), r.passes(unread),
			r.found("port-unread"))
	}
	r.restart()
	if !r.agent.Kernel().HasPort(unread) || r.passes(unread) {
		t.Error("after a restart it is removed, or passes")
	}
	if x, y := r.add(a), r.add(b); x != addrA || y != addrB {
		t.Errorf("after the loss %s and %s, before %s and %s", x, y, addrA, addrB)
	}
	r.del(c)
	if r.agent.Kernel().HasPort(unread) || r.found("port-unread") {
		t.Error("its DEL has left it")
	}
	r.del(a)
	r.del(b)
	r.empty()
}

func TestAPortThatCannotBeReadGoesWithItsContainer(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	r.loseJournal()
	r.unreadable()
	got, err := r.etcdctl().Get(t.Context(), "/berth/v1/reservations/default/"+addr.String())
	check(t, err)
	r.put("reservations/default/"+addr.String(), "{")
	r.start()
	if !r.found("port-unread") {
		t.Fatal("it is not told")
	}
	check(t, sandbox.Remove(c.Netns))
	r.until("it is told no more", func() bool { return !r.found("port-unread") })
	r.put("reservations/default/"+addr.String(), string(got.Kvs[0].Value))
	r.empty()
}

func TestWhoWasCutWhenTheJournalWasLostStaysSoUntilEtcdNamesIt(t *testing.T) {
	r := newRig(t)
	a, b := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	addrA, addrB := r.add(a), r.add(b)
	for _, c := range []wire.Container{a, b} {
		check(t, r.agent.Kernel().Leave(plan.PortName(attachmentOf(c))))
	}
	r.loseJournal()
	for key, value := range map[string]string{"assignments/default/" + addrA.String(): "", "reservations/default/" + addrB.String(): "{"} {
		r.put(key, value)
	}
	r.start()
	r.regain()
	for _, c := range []wire.Container{a, b} {
		if r.passes(plan.PortName(attachmentOf(c))) {
			t.Errorf("%s passes, and etcd does not name it", c.ID)
		}
	}
	r.until("nothing is published of who is cut", func() bool { return r.agent.backlog.Len() == 0 })
	if s := r.assigned(addrA); s != nil {
		t.Errorf("%+v is published", s)
	}
}

// The other address may be another's by now, and the container still has it.
func TestAPortThatCannotBeReadStaysCutWhereEtcdNamesItsContainerForOneFamilyOnly(t *testing.T) {
	r := newRig(t)
	r.apply(allocator.Pool{
		Name: "both", CIDRs: prefixes("10.43.0.0/16", "fd43::/48"),
		Gateways: []netip.Addr{netip.MustParseAddr("10.43.0.1"), netip.MustParseAddr("fd43::1")},
	})
	c := r.stateless("a", "web")
	c.Pool, c.Bridge = "both", "both0"
	v4 := r.add(c)
	r.loseJournal()
	port := r.unreadable()[0]
	r.put("assignments/both/"+v4.String(), "")
	r.start()
	r.regain()
	if e := r.agent.Journal.Get(attachmentOf(c)); e != nil || r.passes(port) || !r.found("port-unread") {
		t.Errorf("it is taken in as %+v, passes: %v, is told: %v", e, r.passes(port), r.found("port-unread"))
	}
	r.del(c)
	r.empty()
}

// loseConfiguration deletes the configuration and all that etcd remembers of it.
func (r *rig) loseConfiguration() (putBack func()) {
	r.t.Helper()
	const all = "/berth/v1/config/"
	got, err := r.etcdctl().Get(r.t.Context(), all, clientv3.WithPrefix())
	check(r.t, err)
	gone, err := r.etcdctl().Delete(r.t.Context(), all, clientv3.WithPrefix())
	check(r.t, err)
	_, err = r.etcdctl().Compact(r.t.Context(), gone.Header.Revision)
	check(r.t, err)
	return func() {
		for _, kv := range got.Kvs {
			_, err := r.etcdctl().Put(r.t.Context(), string(kv.Key), string(kv.Value))
			check(r.t, err)
		}
	}
}

func TestAPortThatCannotBeReadPassesOnceThePoolOfItsContainerIsKnown(t *testing.T) {
	r := newRig(t)
	r.apply(allocator.Pool{Name: "other", CIDRs: prefixes("10.43.0.0/16"), Gateways: []netip.Addr{netip.MustParseAddr("10.43.0.1")},
		Stateful: prefixes("10.43.0.0/24")})
	a, b := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	a.Pool, b.Pool, a.Bridge, b.Bridge = "other", "other", "other0", "other0"
	addrA, addrB := r.add(a), r.add(b)
	r.loseJournal()
	ports := r.unreadable()
	putBack := r.loseConfiguration()
	r.start()
	for _, port := range ports {
		if r.passes(port) {
			t.Errorf("%s passes, and its pool is not known", port)
		}
	}
	putBack()
	for _, port := range ports {
		r.until("it passes", func() bool { return r.passes(port) })
	}
	if x, y := r.add(a), r.add(b); x != addrA || y != addrB {
		t.Errorf("they have %s and %s, and had %s and %s", x, y, addrA, addrB)
	}
	r.del(a)
	r.del(b)
	r.empty()
}
