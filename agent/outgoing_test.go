package agent

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
)

func TestATransferWhoseAnswerIsLostIsSettledAndTheAddressesAreNotLost(t *testing.T) {
	r, n2, _ := shared(t)
	r.session = 10 * time.Second
	r.add(r.tiny("a"))
	d, err := block.Demand(t.Context(), n2, record.Demand{Pool: "nothing", V4: 1}) // of a pool that the agent has nothing of
	check(t, err)
	d.Pool = "tiny"
	session, err := r.agent.Holding(allocator.Stateless)
	check(t, err)
	before := r.owns()
	r.etcd.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r.agent.exchange.Donate(ctx, session, d, tiny) {
		t.Error("without etcd the demand has been met")
	}
	out := r.agent.addresses.Indeterminate()
	if len(out) != 1 || slices.ContainsFunc(r.owns(), func(p netip.Prefix) bool { return p.Overlaps(out[0].Part) }) {
		t.Errorf("in doubt are %v, owned %v", out, r.owns())
	}
	r.startEtcd()
	r.until("it is settled", func() bool { return len(r.agent.addresses.Indeterminate()) == 0 && slices.Equal(r.owns(), before) })
}

func TestATransferThatWasCarriedOutUnnoticedDoesNotComeBack(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	d, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny"}) // of no family: the agent leaves it to the test
	check(t, err)
	session, err := r.agent.Holding(allocator.Stateless)
	check(t, err)
	o := r.agent.addresses.Withdraw(tiny, func(s *allocator.Space) (netip.Prefix, bool) { return s.Half(clock.Boottime(), 0) })
	_, err = block.Transfer(t.Context(), session, o.Block, o.Part, d)
	check(t, err)
	r.agent.addresses.MarkIndeterminate(o)
	r.until("it is settled", func() bool { return len(r.agent.addresses.Indeterminate()) == 0 })
	if slices.ContainsFunc(r.owns(), func(p netip.Prefix) bool { return p.Overlaps(o.Part) }) {
		t.Errorf("the agent owns %v, and has given %v", r.owns(), o.Part)
	}
	r.agrees()
}

func TestABlockWhoseReleaseIsNotAnsweredIsNotLost(t *testing.T) {
	r, _, _ := shared(t)
	c := r.tiny("a")
	r.add(c)
	r.del(c)
	r.until("all is published", func() bool {
		return r.agent.backlog.Len() == 0 && r.assigned(netip.MustParseAddr("10.7.0.2")) == nil
	})
	before := r.owns()
	r.etcd.Stop()
	drains := r.agent.Config().Clone() // of which the agent hears in the last moment, and gives the block back
	p := drains.Pools["tiny"]
	p.Reuse, p.Cooldown, p.Draining = 0, 0, true
	drains.Pools["tiny"], drains.Revision = p, drains.Revision+1
	r.agent.Configure(drains)
	r.until("its release is in doubt", func() bool { return len(r.agent.addresses.Indeterminate()) == 1 && len(r.owns()) == 0 })
	r.startEtcd()
	r.until("it is settled", func() bool { return len(r.agent.addresses.Indeterminate()) == 0 })
	r.agrees()
	if b := r.block(); len(b.Of("n1")) > 0 && !slices.Equal(r.owns(), before) {
		t.Errorf("the agent owns %v of %+v", r.owns(), b)
	}
}

func TestWhatIsNotGivenComesBack(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	d, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny"}) // of no family: the agent leaves it to the test
	check(t, err)
	check(t, block.Withdraw(t.Context(), n2, "tiny"))
	session, err := r.agent.Holding(allocator.Stateless)
	check(t, err)
	before := r.owns()
	if !r.agent.exchange.Donate(t.Context(), session, d, tiny) {
		t.Error("a demand that is withdrawn counts as one that waits")
	}
	if own := r.owns(); !slices.Equal(own, before) {
		t.Errorf("nothing was given, and the agent owns %v of %v", own, before)
	}
	r.agrees()
}
