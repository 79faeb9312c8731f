package agent

import (
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/rollout"
)

func TestWhomAContainerIsMadeForIsKeptAndPublished(t *testing.T) {
	r := newRig(t)
	pod := func(name string) wire.Workload {
		return wire.Workload{Namespace: "shop", Name: name, UID: "uid-" + name}
	}
	plain, member := r.stateless("a", ""), r.stateful("b", "db", "db-0")
	plain.Workload, member.Workload = pod("web-1"), pod("db-0")
	addr, reserved := r.add(plain), r.add(member)
	r.restart()
	for container, name := range map[string]string{"a": "web-1", "b": "db-0"} {
		e := r.agent.Journal.Get(allocator.Attachment{Network: "net", Container: container, Interface: "eth0"})
		if e == nil || e.Workload != allocator.Workload(pod(name)) {
			t.Errorf("the journal has %+v: want container %s of %v", e, container, pod(name))
		}
	}
	r.until("the assignment names the pod", func() bool {
		a, err := r.store.Blocks.Assignment(t.Context(), "default", addr)
		check(t, err)
		return a != nil && a.Workload == allocator.Workload(pod("web-1"))
	})
	reservation, err := r.store.Reservations.Of(t.Context(), "default", reserved)
	check(t, err)
	if reservation.Holder.Workload != allocator.Workload(pod("db-0")) {
		t.Errorf("the reservation is attached to %+v: want the pod's name", reservation.Holder)
	}
	set, err := r.store.Rollout.Version(t.Context(), rollout.Selector{})
	check(t, err)
	for i, want := range []string{"shop/web-1", "shop/db-0"} {
		if len(set.Containers) != 2 || set.Containers[i].Workload != want {
			t.Errorf("the version's containers are %+v: want the one of %s", set.Containers, want)
		}
	}
}

func TestANameOfAWorkloadNeverKeepsAContainerFromStarting(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "")
	c.Workload = wire.Workload{Namespace: "a\x1b[2Jb", Name: strings.Repeat("ä", 10000), UID: "\x00"}
	r.add(c)
	got := r.agent.Journal.Entries()[0].Workload
	if got.Namespace != "a[2Jb" || len(got.Name) > 253 || len(got.Name) < 250 || got.UID != "" {
		t.Errorf("the journal has %q in %q, UID %q: want it cut, and without what is not printed", got.Name, got.Namespace, got.UID)
	}
}
