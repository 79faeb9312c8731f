package agent

import (
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
)

func TestARepeatedADDKeepsTheAddressThatWasAskedForOfACIDRThatDrainsMeanwhile(t *testing.T) {
	r := newRig(t)
	c, other := r.stateless("a", "web"), r.stateless("b", "web")
	c.Addresses, other.Addresses = []string{"10.42.16.10"}, []string{"10.42.16.11"}
	addr := r.add(c)
	r.change(func(c *config.Config) {
		p := c.Pools["default"]
		p.DrainingCIDRs = p.CIDRs
		c.Pools["default"] = p
	})
	r.until("the agent knows that it drains", func() bool { return len(r.agent.Config().Pools["default"].DrainingCIDRs) > 0 })
	if again := r.add(c); again != addr {
		t.Errorf("it has %v, and had %v", again, addr)
	}
	r.refused(wire.CodeConfig, other)
}
