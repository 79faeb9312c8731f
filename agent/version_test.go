package agent

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/rollout"
)

// mtu is that of a container's interface, as the kernel has it.
func mtu(t testing.TB, c wire.Container) (mtu int) {
	t.Helper()
	check(t, sandbox.Within(c.Netns, func() error {
		link, err := net.InterfaceByName(c.Interface)
		if err == nil {
			mtu = link.MTU
		}
		return err
	}))
	return mtu
}

func (r *rig) pool() allocator.Pool {
	config, err := r.store.Config.Read(r.t.Context())
	check(r.t, err)
	return config.Pools["default"]
}

func TestRunningContainersAreBroughtToANewConfiguration(t *testing.T) {
	r := newRig(t)
	set := []wire.Container{r.stateless("a", "web"), r.stateful("b", "db", "db-0")}
	for _, c := range set {
		r.add(c)
	}
	pool := r.pool()
	pool.MTU = 1400
	pool.Routes = []allocator.Route{{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.42.0.1")}}
	r.apply(pool)
	_, err := r.store.Rollout.WaitVersion(t.Context(), rollout.Selector{}, 0, func(*rollout.SetVersion) {})
	check(t, err)
	for _, c := range set {
		if got := mtu(t, c); got != 1400 {
			t.Errorf("%s has MTU %d when the version says complete, want 1400", c.ID, got)
		}
		if _, err := r.ask(wire.Read, c); err != nil {
			t.Error("CHECK:", err)
		}
	}
	r.restart()
	if _, err := r.store.Rollout.WaitVersion(t.Context(), rollout.Selector{}, 0, func(*rollout.SetVersion) {}); err != nil {
		t.Error("after a restart:", err)
	}
}

func TestAContainerThatCannotBeBroughtThereIsNamedWithTheReason(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	hidden := *r.agent.Journal.Entries()[0]
	hidden.Netns, hidden.Inode = "/nowhere", 1
	check(t, r.agent.Journal.Hold(&hidden))
	pool := r.pool()
	pool.MTU = 1400
	r.apply(pool)
	var v *wire.SetVersion
	r.until("the version names it", func() bool {
		response, err := r.send(&wire.Request{Operation: wire.Read, Select: &wire.Select{App: "ns/web"}})
		if err != nil {
			return false // it is not published yet
		}
		v = response.Set
		return len(v.Containers) == 1 && strings.Contains(v.Containers[0].Reason, "/nowhere")
	})
	if v.Complete || v.UpToDate != 0 || v.Total != 1 {
		t.Errorf("version %+v: want it incomplete", v)
	}
}

func TestTheVersionIsServedByHTTP(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	url := "http://" + r.webAddress() + "/v1/version"
	r.until("it is complete", func() bool {
		code, body := get(t, url+"?app=ns/web")
		var v wire.SetVersion
		return code == 200 && json.Unmarshal([]byte(body), &v) == nil && v.Complete && v.Total == 1
	})
}

func TestAnOperationThatIsSwitchedOffIsRefusedLive(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	r.change(func(c *config.Config) { c.Settings.Operations = []string{"read", "delete"} })
	r.until("insert is refused", func() bool {
		_, err := r.ask(wire.Insert, r.stateless("b", ""))
		return err != nil && wire.AsError(err).Code == wire.CodeOperation && strings.Contains(err.Error(), "read, delete")
	})
	if e := r.refused(wire.CodeOperation, r.stateless("c", "")); e == nil {
		t.Error("not refused")
	}
	if _, err := r.ask("paint", c); err == nil || wire.AsError(err).Code != wire.CodeOperation {
		t.Errorf("an unknown operation: %v", err)
	}
	r.del(c)
}

func TestTheTimesOfFencingChangeLive(t *testing.T) {
	r := newRig(t)
	addr := r.add(r.stateless("a", "web"))
	r.session *= 2
	r.change(func(c *config.Config) { c.Settings.Session = allocator.Duration(r.session) })
	r.until("the node's key says so", func() bool {
		nodes, err := r.store.Nodes.Nodes(t.Context())
		check(t, err)
		return nodes[0].Session == allocator.Duration(r.session)
	})
	r.until("it allocates", func() bool { return r.agent.reporter.NotReady() == nil })
	if r.agent.Journal.Holder("default", addr) == nil || r.agent.Journal.Isolated() != 0 {
		t.Error("the change has cost a container its address")
	}
}

func TestEachMemberOfASetCanBeDoneByItself(t *testing.T) {
	r := newRig(t)
	bad := r.stateless("bad", "")
	bad.Pool = "nowhere"
	response, err := r.send(&wire.Request{Operation: wire.Insert, Each: true,
		Containers: []wire.Container{r.stateless("a", ""), bad, r.stateless("c", "")}})
	check(t, err)
	for i, failed := range []bool{false, true, false} {
		if (response.Results[i].Error != nil) != failed {
			t.Errorf("result %d: %+v", i, response.Results[i])
		}
	}
}

func TestADryRunDeletesNothingAndReleaseGivesTheReservationUp(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	response, err := r.send(&wire.Request{Operation: wire.Delete, DryRun: true, Containers: []wire.Container{c}})
	check(t, err)
	if got := response.Results[0].Addresses; len(got) != 1 || got[0].Address.Addr() != addr || len(r.agent.Journal.Entries()) != 1 {
		t.Errorf("it would give back %v, and %d entries are left", got, len(r.agent.Journal.Entries()))
	}
	_, err = r.send(&wire.Request{Operation: wire.Delete, Release: true, Containers: []wire.Container{c}})
	check(t, err)
	if all, err := r.store.Reservations.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("reservations %v are left, error %v", all, err)
	}
}

func TestASetTooLargeOrWithOneBadMemberAmongFiftyChangesNothing(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("warm", "")) // so that bridge and block are there
	set := make([]wire.Container, wire.MaxContainers+1)
	for i := range set {
		set[i] = wire.Container{Network: "net", ID: fmt.Sprint("c", i), Interface: "eth0", Role: wire.IPAM}
	}
	if e := r.refused(wire.CodeOperation, set...); !strings.Contains(e.Message, "1000 containers") {
		t.Errorf("the refusal %q does not say how many there may be", e.Message)
	}
	set = set[:50]
	set[25].Addresses = []string{"10.42.0.9"} // stateful
	r.refused(wire.CodeConfig, set...)
}
