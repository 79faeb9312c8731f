package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/rollout"
)

// ofIPAM is a container whose interface another plugin makes.
func (r *rig) ofIPAM(id string) wire.Container {
	c := r.stateless(id, "web")
	c.Role, c.Bridge = wire.IPAM, ""
	return c
}

// lacking waits until the version names the containers that must be made anew, and what they lack, and no others.
func (r *rig) lacking(want map[string]string) {
	r.t.Helper()
	var v *rollout.SetVersion
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("the last set is %+v", v)
		}
	})
	r.until(fmt.Sprintf("exactly these lack something: %v", want), func() (right bool) {
		_, err := r.store.Rollout.WaitVersion(r.t.Context(), rollout.Selector{Live: true}, 0, nil) // else it may be the configuration before
		check(r.t, err)
		v, err = r.store.Rollout.Version(r.t.Context(), rollout.Selector{})
		check(r.t, err)
		right = v.Complete == (len(want) == 0)
		for _, c := range v.Containers {
			reason, outdated := want[c.ID]
			right = right && c.Remake == outdated && c.UpToDate != outdated && strings.Contains(c.Reason, reason) &&
				(!outdated || strings.Contains(c.Reason, "made anew"))
		}
		return right
	})
}

func TestAContainerThatLacksWhatOnlyNewOnesGetIsNotUpToDateBeforeItIsMadeAnew(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	r.add(r.ofIPAM("b"))
	r.lacking(nil)
	first := r.pool()

	pool := first
	pool.DNS = allocator.DNS{Nameservers: []string{"10.42.0.53"}}
	r.apply(pool)
	r.lacking(map[string]string{"a": "dns", "b": "dns"})

	pool.MTU, pool.Routes = 1400, []allocator.Route{{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.42.0.1")}}
	r.apply(pool)
	r.lacking(map[string]string{"a": "dns", "b": "dns, mtu, routes"})
	if v := r.agent.updater.Revision(); v.Complete || v.Applied >= v.Revision {
		t.Errorf("VERSION says %+v", v)
	}

	r.restart() // what they lack outlives the agent
	r.lacking(map[string]string{"a": "dns", "b": "dns, mtu, routes"})

	r.del(r.stateless("b", "web"))
	r.add(r.ofIPAM("b"))
	r.add(r.stateless("c", "web"))
	r.lacking(map[string]string{"a": "dns"})

	first.MTU = 1400
	r.apply(first) // back to what a was told, and away from what the others were
	r.lacking(map[string]string{"b": "routes", "c": "dns"})
	r.del(r.stateless("b", "web"))
	r.del(r.stateless("c", "web"))
	r.lacking(nil)
}

func TestWhatAnOlderJournalDoesNotSayIsAskedOfTheHistory(t *testing.T) {
	r := newRig(t)
	for _, c := range []wire.Container{r.stateless("a", "web"), r.ofIPAM("b")} {
		r.add(c)
	}
	forget := func() {
		r.stop()
		j, err := journal.Open(disk.Machine{}, r.agent.Journal.Path(), journal.Header{Node: "n1", Boot: r.agent.Boot}, clock.Boottime)
		check(t, err)
		for _, e := range j.Entries() {
			older := *e
			older.Given = nil
			check(t, j.Hold(&older))
		}
		check(t, j.Close())
		r.start()
	}
	forget()
	r.lacking(nil) // the pool never said anything else
	pool := r.pool()
	pool.MTU = 1400
	r.apply(pool)
	r.lacking(map[string]string{"b": "mtu"})
	forget()
	r.lacking(map[string]string{"b": "not known"}) // nothing that a was told has ever changed
	pool.DNS.Domain = "example"
	r.apply(pool)
	forget()
	r.lacking(map[string]string{"a": "not known", "b": "not known"})
}
