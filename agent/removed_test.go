package agent

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/internal/wire"
)

// removed makes the node one that was removed from the cluster, with all that etcd records of it.
func (r *rig) removed() {
	r.t.Helper()
	r.stop()
	for _, kind := range []string{"nodes/n1", "sessions/n1", "status/n1", "blocks/", "assignments/", "reservations/", "identities/"} {
		_, err := r.etcdctl().Delete(r.t.Context(), "/berth/v1/"+kind, clientv3.WithPrefix())
		check(r.t, err)
	}
}

// ofEachClass makes a container of each class.
var ofEachClass = map[string]func(r *rig) wire.Container{
	"stateless": func(r *rig) wire.Container { return r.stateless("a", "web") },
	"stateful":  func(r *rig) wire.Container { return r.stateful("a", "db", "db-0") },
}

func TestARemovedNodeThatComesBackAssertsNoAddressThatIsAGatewayByThen(t *testing.T) {
	for name, make := range ofEachClass {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c, other := make(r), r.stateless("b", "web")
			gateway, kept := r.add(c), r.add(other)
			r.removed()
			check(t, r.moveGateway("default", gateway.String()))
			r.start()
			e := r.agent.Journal.Get(attachmentOf(c))
			if e.Isolated == nil || !strings.Contains(e.Isolated.Reason, "gateway") || r.passes(e.Wiring.Port) {
				t.Errorf("isolated: %+v, passes: %v", e.Isolated, r.passes(e.Wiring.Port))
			}
			if held, err := r.store.Reservations.Of(t.Context(), "default", gateway); err != nil || held != nil || r.assigned(gateway) != nil {
				t.Errorf("etcd records %+v, %+v, %v", held, r.assigned(gateway), err)
			}
			r.until("its other containers' addresses are asserted", func() bool { return r.assigned(kept) != nil })
			if e := r.agent.Journal.Get(attachmentOf(other)); !r.passes(e.Wiring.Port) {
				t.Error("another container is cut off")
			}
			r.del(c)
			r.del(other)
			r.empty()
		})
	}
}

// Etcd may have lost the configuration by which the container got its address.
func TestARestoredConfigurationIsolatesNobodyWhoseAddressItHasAsAGateway(t *testing.T) {
	for name, make := range ofEachClass {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c := make(r)
			addr := r.add(c)
			r.removed()
			check(t, r.moveGateway("default", addr.String()))
			r.put("cluster", `{"id": "c0ffee"}`)
			r.begin()
			r.until("the agent recovers", func() bool { return r.recovering() && r.agent.reporter.NotReady() == nil })
			if e := r.agent.Journal.Get(attachmentOf(c)); e.Isolated != nil || !r.passes(e.Wiring.Port) {
				t.Errorf("isolated: %+v, passes: %v", e.Isolated, r.passes(e.Wiring.Port))
			}
		})
	}
}

func TestARecordThatCannotBeReadIsNoAbsenceWhereItsAddressIsAGateway(t *testing.T) {
	for name, make := range ofEachClass {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c := make(r)
			addr := r.add(c)
			r.removed()
			check(t, r.moveGateway("default", addr.String()))
			pool := r.pool()
			r.put("reservations/default/"+addr.String(), "{")
			r.put("blocks/default/"+pool.BlockOf(addr).Addr().String(), "{")
			r.start()
			if e := r.agent.Journal.Get(attachmentOf(c)); e.Isolated != nil || !r.passes(e.Wiring.Port) {
				t.Errorf("isolated: %+v, passes: %v", e.Isolated, r.passes(e.Wiring.Port))
			}
		})
	}
}
