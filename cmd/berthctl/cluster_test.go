package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// join makes a node of the cluster, as its agent would.
func (l *lab) join(name string) *session.Session {
	l.Helper()
	config := l.config()
	session, err := l.peer.Sessions.Join(l.Context(), record.Node{
		Name: name, Machine: "machine-" + name, Boot: "boot-" + name, Journal: "journal-" + name, Address: "192.0.2.1",
		Version: "v1", Fencing: config.Settings.Fencing, Session: config.Settings.Session,
		AddressLease: config.Settings.AddressLease, Started: time.Now(),
	})
	if err != nil {
		l.Fatal(err)
	}
	return session
}

// report publishes what a node has applied.
func (l *lab) report(session *session.Session, status record.Status) {
	l.Helper()
	if err := rollout.Publish(l.Context(), session, rollout.Batch{Status: status}); err != nil {
		l.Fatal(err)
	}
}

var attached = allocator.Attachment{Network: "berth", Container: "0123456789abcdef", Interface: "eth0"}

// The forms of -o json that scripts build on.
type (
	addressesForm struct{ Addresses []holding }
	poolsForm     struct{ Pools []allocator.Pool }
	nodesForm     struct{ Nodes []node }
)

func TestAReservationIsShownUntilItIsReleased(t *testing.T) {
	l := configured(t)
	var made, again, shown addressesForm
	l.ctl("reserve", "shop/db/db-0", "-o", "json").exits(exitDone).into(&made)
	l.ctl("reserve", "shop/db/db-0", "-o", "json").exits(exitDone).into(&again)
	if len(made.Addresses) != 1 || len(again.Addresses) != 1 || made.Addresses[0].Address != again.Addresses[0].Address {
		t.Fatalf("reserved %+v, then %+v", made, again)
	}
	address := made.Addresses[0].Address
	if !netip.MustParsePrefix("10.42.0.0/20").Contains(address) {
		t.Errorf("%s is not of the stateful range", address)
	}
	for _, word := range []string{address.String(), "shop/db/db-0", "shop/db"} {
		l.ctl("show", word, "-o", "json").exits(exitDone).into(&shown)
		if h := shown.Addresses; len(h) != 1 || h[0].Address != address || h[0].State != stateReserved || h[0].who() != "shop/db/db-0" ||
			h[0].Reserved == nil {
			t.Errorf("show %s: %+v", word, shown)
		}
	}
	l.ctl("get", "reservations", address.String()).exits(exitDone).says("shop/db/db-0", address.String())
	l.ctl("release", "shop/db/db-0", "--network", "other").exits(exitError).complains("shop/db/db-0", "network other")
	l.ctl("release", "shop/db/db-0").exits(exitDone).says(address.String(), stateReleased)
	l.ctl("show", "shop/db/db-0").exits(exitError).complains("shop/db/db-0")
	l.ctl("show", address.String()).exits(exitDone).says(stateFree)
	l.ctl("release", "shop/db/db-0").exits(exitError).complains("shop/db/db-0")
}

func TestAnAddressIsReservedForOneMemberAlone(t *testing.T) {
	l := configured(t)
	l.ctl("reserve", "shop/db/db-0", "--address", "10.42.0.17").exits(exitDone).says("10.42.0.17")
	l.ctl("reserve", "shop/db/db-1", "--address", "10.42.0.17").exits(exitError).complains("10.42.0.17", "shop/db/db-0")
	l.ctl("reserve", "shop/db/db-1", "--address", "10.42.200.1").exits(exitError).complains("10.42.200.1")
	l.ctl("reserve", "shop/db/db-1", "--address", "10.42.0.1").exits(exitError).complains("10.42.0.1")
	l.ctl("reserve", "shop/db/db-1", "--pool", "defualt").exits(exitError).complains(`did you mean "default"?`)
	var form addressesForm
	l.ctl("show", "shop/db", "-o", "json").exits(exitDone).into(&form)
	if len(form.Addresses) != 1 {
		t.Errorf("a refused reservation left %+v", form)
	}
}

func TestAMemberThatRunsIsReleasedOnlyByForce(t *testing.T) {
	l := configured(t)
	config, session := l.config(), l.join("n1")
	id := allocator.Identity{Namespace: "shop", App: "db", Member: "db-0", Network: "berth", Interface: "eth0"}
	_, err := l.store.Reservations.Reserve(t.Context(), session, []reservation.Request{{
		Pool: config.Pools["default"], PoolRevision: config.PoolRevisions["default"], Identity: id, Attachment: attached,
		Taken: func(netip.Addr) bool { return false },
	}})
	if err != nil {
		t.Fatal(err)
	}
	l.ctl("show", attached.Container[:12]).exits(exitDone).says("shop/db/db-0", "n1", stateAttached)
	l.ctl("release", "shop/db/db-1", "shop/db/db-0").exits(exitError).complains("shop/db/db-1")
	l.ctl("release", "shop/db/db-0").exits(exitError).complains("n1", attached.Container, "--force")
	l.ctl("release", "shop/db/db-0", "--force").exits(exitDone).says("shop/db/db-0")
	l.ctl("show", "shop/db/db-0").exits(exitError)
}

func TestTheVersionIsCompleteWhenEveryLiveNodeHasAppliedIt(t *testing.T) {
	l := configured(t)
	l.ctl("version").exits(exitDone).says("complete: yes")
	first, second := l.join("n1"), l.join("n2")
	revision := l.config().Revision
	l.report(first, record.Status{Applied: revision})
	l.ctl("version").exits(exitIncomplete).says("complete: no", "n2").complains("waiting for n2")

	lag := record.Lag{Attachment: attached, Reason: "mtu: refused by the kernel"}
	l.report(second, record.Status{Applied: revision - 1, Revision: revision, Lagging: []record.Lag{lag}, LaggingCount: 1})
	var v rollout.SetVersion
	l.ctl("version", "-o", "json").exits(exitIncomplete).into(&v)
	if v.Complete || v.Revision != revision || len(v.Nodes) != 1 || v.Nodes[0].Node != "n2" || v.Containers == nil {
		t.Errorf("version is %+v", v)
	}
	l.ctl("status").exits(exitDone).says("complete: no", "waiting for n2")

	l.report(second, record.Status{Applied: revision})
	l.ctl("version").exits(exitDone).says("complete: yes")
}

func TestAStatelessContainerIsFoundByAddressByIDAndByItsPod(t *testing.T) {
	l := configured(t)
	session, config := l.join("n1"), l.config()
	block, err := block.Claim(t.Context(), session, "default", config.PoolRevisions["default"], netip.MustParsePrefix("10.42.64.0/26"))
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr("10.42.64.9")
	err = rollout.Publish(t.Context(), session, rollout.Batch{
		Status: record.Status{Applied: config.Revision, Containers: 1}, Blocks: []record.Block{block},
		Set: []record.Assignment{{
			Pool: "default", Address: address, Attachment: attached, App: allocator.App{Namespace: "shop", Name: "web"}, Node: "n1",
			Since:    time.Now(),
			Workload: allocator.Workload{Namespace: "prod", Name: "web-7d9f", UID: "0f1e-22"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"10.42.64.9", attached.Container, "0123", "shop/web", "prod/web-7d9f", "web-7d9f", "0f1e-22"} {
		var form addressesForm
		l.ctl("show", word, "-o", "json").exits(exitDone).into(&form)
		if h := form.Addresses; len(h) != 1 || h[0].Address != address || h[0].Node != "n1" || h[0].State != stateAssigned ||
			h[0].Container != attached.Container {
			t.Errorf("show %s: %+v", word, form)
		}
	}
	for _, line := range []string{"get assignments", "show 10.42.64.9", "version"} {
		l.ctl(strings.Fields(line)...).says("NAMESPACE/NAME", "prod/web-7d9f")
	}
	l.ctl("show", "10.42.64.10").exits(exitDone).says(stateFree, "n1")
	l.ctl("show", "10.42.128.10").exits(exitDone).says(stateUnclaimed)
	l.ctl("show", "10.42.0.1").exits(exitDone).says(stateExcluded)
	l.ctl("show", "192.0.2.1").exits(exitError).complains("no pool", "10.42.0.0/16")
	l.ctl("show", "nobody").exits(exitError).complains("nobody")
	l.ctl("remove", "pool", "default").exits(exitError).complains("block")

	var s status
	l.ctl("status", "-o", "json").exits(exitDone).into(&s)
	if len(s.Pools) != 1 || s.Pools[0].Assigned != 1 || s.Pools[0].Used != 1 || s.Pools[0].Blocks != 1 || s.Pools[0].Total < 65000 {
		t.Errorf("pools of status are %+v", s.Pools)
	}
	if len(s.Nodes) != 1 || !s.Nodes[0].Live || s.Nodes[0].Containers != 1 || s.Etcd.ClusterID == "" {
		t.Errorf("status is %+v", s)
	}
}

func TestEveryKindIsPrintedInEveryForm(t *testing.T) {
	l := configured(t)
	session := l.join("n1")
	l.report(session, record.Status{Applied: l.config().Revision})
	l.ctl("reserve", "shop/db/db-0").exits(exitDone)
	for _, kind := range []string{"pools", "nodes", "blocks", "assignments", "reservations", "history", "settings"} {
		l.ctl("get", kind).exits(exitDone)
		var document map[string]any
		l.ctl("get", kind, "-o", "json").exits(exitDone).into(&document)
		if len(document) != 1 || document[kind] == nil {
			t.Errorf("get %s as JSON has not the one key %s: %v", kind, kind, document)
		}
		l.ctl("get", kind, "-o", "yaml").exits(exitDone).says(kind + ":")
		if kind != "settings" {
			l.ctl("get", kind, "nonesuch").exits(exitError).complains("nonesuch")
		}
	}
	var pools poolsForm
	l.ctl("get", "pools", "-o", "json").exits(exitDone).into(&pools)
	if len(pools.Pools) != 1 || pools.Pools[0].Name != "default" {
		t.Errorf("pools are %+v", pools)
	}
	var nodes nodesForm
	l.ctl("get", "nodes", "n1", "-o", "json").exits(exitDone).into(&nodes)
	if len(nodes.Nodes) != 1 || nodes.Nodes[0].Name != "n1" || !nodes.Nodes[0].Live {
		t.Errorf("nodes are %+v", nodes)
	}
	l.ctl("get", "nodes", "n2").exits(exitError).complains(`did you mean "n1"?`)
	if out := l.ctl("get", "reservations", "-o", "yaml").exits(exitDone).out; strings.ContainsAny(out, "{}") {
		t.Errorf("YAML has the brackets of JSON:\n%s", out)
	}
}
