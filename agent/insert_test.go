package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
)

func TestADeleteOlderThanTheAddChangesNothing(t *testing.T) {
	r := newRig(t)
	before := int64(clock.Boottime())
	c := r.stateless("a", "")
	r.add(c)
	_, err := r.send(&wire.Request{Operation: wire.Delete, Started: before, Containers: []wire.Container{c}})
	check(t, err)
	if len(r.agent.Journal.Entries()) != 1 {
		t.Error("a DEL of the container's former life has ended its present one")
	}
}

func TestAnAddOlderThanADeleteIsRefused(t *testing.T) {
	r := newRig(t)
	before := int64(clock.Boottime())
	c := r.stateless("a", "")
	r.del(c)
	if _, err := r.send(&wire.Request{Operation: wire.Insert, Started: before, Containers: []wire.Container{c}}); err == nil ||
		wire.AsError(err).Code != wire.CodeTryAgain {
		t.Errorf("error %v, want code %d", err, wire.CodeTryAgain)
	}
	r.empty()
}

func TestASetIsInsertedAsAWholeOrNotAtAll(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("warm", "")) // so that bridge and block are there
	good := []wire.Container{r.stateless("a", "web"), r.stateful("b", "db", "db-0"), r.stateless("c", "")}
	foreign := r.stateful("d", "db", "db-1")
	foreign.Interface = "lo"
	r.refused(wire.CodeConfig, append(good, foreign)...)
	twice := append(good, good[0])
	r.refused(wire.CodeOperation, twice...)
	r.refused(wire.CodeOperation)
	bad := r.stateless("e", "")
	bad.Pool = "nowhere"
	if e := r.refused(wire.CodeConfig, append(good, bad)...); !strings.Contains(e.Message, "default") {
		t.Errorf("the refusal %q does not say which pools there are", e.Message)
	}
	response, err := r.ask(wire.Insert, good...)
	check(t, err)
	if len(response.Results) != 3 {
		t.Errorf("%d results", len(response.Results))
	}
}

func TestBadInputIsRefusedAndLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("warm", ""))
	change := func(f func(*wire.Container)) wire.Container {
		c := r.stateless("x", "")
		f(&c)
		return c
	}
	plain := filepath.Join(r.dir, "plain")
	check(t, os.WriteFile(plain, nil, 0o600))
	for what, c := range map[string]struct {
		code int
		c    wire.Container
	}{
		"a slash in the ID":   {wire.CodeEnvironment, change(func(c *wire.Container) { c.ID = "a/b" })},
		"a control character": {wire.CodeConfig, change(func(c *wire.Container) { c.Namespace, c.App = "ns", "a\x01" })},
		"a class of no kind":  {wire.CodeConfig, change(func(c *wire.Container) { c.Class = "sticky" })},
		"stateful without a member": {wire.CodeConfig,
			change(func(c *wire.Container) { c.Class, c.Namespace, c.App = "stateful", "ns", "db" })},
		"an interface that expands":   {wire.CodeEnvironment, change(func(c *wire.Container) { c.Interface = "eth%d" })},
		"a bridge that expands":       {wire.CodeConfig, change(func(c *wire.Container) { c.Bridge = "br%d" })},
		"a bridge called as a sysctl": {wire.CodeConfig, change(func(c *wire.Container) { c.Bridge = "all" })},
		"an uplink that expands":      {wire.CodeConfig, change(func(c *wire.Container) { c.Uplink = "eth%d" })},
		"no namespace":                {wire.CodeConfig, change(func(c *wire.Container) { c.Netns = "" })},
		"a file for a namespace":      {wire.CodeNetns, change(func(c *wire.Container) { c.Netns = plain })},
		"an address outside":          {wire.CodeConfig, change(func(c *wire.Container) { c.Addresses = []string{"192.0.2.1"} })},
		"a stateful address":          {wire.CodeConfig, change(func(c *wire.Container) { c.Addresses = []string{"10.42.0.9"} })},
		"masquerade with an uplink":   {wire.CodeConfig, change(func(c *wire.Container) { c.IPMasq, c.Uplink = true, "eth9" })},
		"an uplink that is not":       {wire.CodeIO, change(func(c *wire.Container) { c.Uplink, c.Bridge = "eth9", "berth9" })},
	} {
		t.Run(what, func(t *testing.T) { r.refused(c.code, c.c) })
	}
}

func TestAnAddSaysThatItIsTheAppWhichIsMissing(t *testing.T) {
	r := newRig(t)
	for _, namespace := range []string{"", "shop"} {
		c := r.stateless("x", "")
		c.Class, c.Namespace, c.Member = "stateful", namespace, "db-0"
		if e := r.refused(wire.CodeConfig, c); !strings.Contains(e.Message, "app is missing") {
			t.Errorf("in namespace %q the refusal is %q: want it to say that the app is missing", namespace, e.Message)
		}
	}
}

func TestAnAddressThatStillRestsIsWaitedFor(t *testing.T) {
	r := newRig(t)
	small := allocator.Pool{Name: "small", CIDRs: prefixes("10.43.0.0/30"), BlockSize: allocator.BlockSize{V4: 30}}
	r.apply(small)
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("small"); return err == nil })
	plain := func(id string, asked ...string) wire.Container {
		c := r.stateless(id, "")
		c.Role, c.Pool, c.Addresses = wire.IPAM, "small", asked
		return c
	}
	first, second := plain("a"), plain("b")
	addr := r.add(first)
	other := r.add(second)
	r.refused(wire.CodeTryAgain, plain("c")) // nothing rests: no wait
	r.del(first)
	if c := r.counts(addresses.SpaceKey{Pool: "small", Family: allocator.V4}); c.Quarantined != 1 {
		t.Errorf("after a DEL in the IPAM role %+v: want one that rests", c)
	}
	if got := r.add(plain("d")); got != addr {
		t.Errorf("got %s, want the one that rested, %s", got, addr)
	}
	r.del(second)
	if got := r.add(plain("e", other.String())); got != other {
		t.Errorf("asked for %s by name, got %s", other, got)
	}
}

func TestAPoolThatHasNoStatelessAddressRefusesInsteadOfWaiting(t *testing.T) {
	r := newRig(t)
	r.apply(allocator.Pool{Name: "all", CIDRs: prefixes("10.44.0.0/28"), Stateful: prefixes("10.44.0.0/28"),
		BlockSize: allocator.BlockSize{V4: 28}})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("all"); return err == nil })
	c := r.stateless("a", "")
	c.Pool = "all"
	if e := r.refused(wire.CodeConfig, c); !strings.Contains(e.Message, "stateful") {
		t.Errorf("the refusal %q does not say why", e.Message)
	}
}
