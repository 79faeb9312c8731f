// Package bridges merges what the networks of a node's containers configure for its bridges, and refuses networks that contradict
// each other.
package bridges

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/netops"
)

// A Use is how one network configures a bridge, for its containers of one pool.
type Use struct {
	Network, Pool string
	Bridge        netops.Bridge // as this network alone configures it
}

// Held is the use by a container of this node. One that is not answered yet counts once its use was admitted.
type Held struct {
	Use
	Answered bool
}

// A Contradiction is between two networks' configurations of one bridge or one pool.
type Contradiction struct {
	Bridge string
	Text   string // names both
	Advice string

	about subject
}

// A subject is a property of a bridge that networks configure.
type subject int

const (
	ofUplink subject = iota
	ofMTU
	ofPool
)

func (c *Contradiction) Error() string { return c.Text + ": " + c.Advice }

// A Book records which uses were admitted. The zero Book is ready.
type Book struct {
	mu   lockorder.Book
	uses map[key]Use
}

type key struct{ network, pool, bridge string }

func (u Use) key() key { return key{u.Network, u.Pool, u.Bridge.Name} }

// Admit adds a use and returns its bridge as all who use it need it, or refuses it with a *Contradiction. held returns the uses
// by the containers of this node, including the new one; it is called only where the use is new.
func (b *Book) Admit(u Use, held func() []Held) (netops.Bridge, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.uses[u.key()]; ok && reflect.DeepEqual(known, u) {
		return b.decided(u.Bridge.Name, b.contradictions()), nil
	}
	b.rebuild(held())
	for _, other := range b.sorted() {
		if c := contradiction(other, u); c != nil {
			return netops.Bridge{}, c
		}
	}
	b.uses[u.key()] = u
	return b.decided(u.Bridge.Name, b.contradictions()), nil
}

// All returns each bridge in use, and the contradictions that exist in spite of Admit: by a changed configuration, or from before
// it was known. A contradicted property stays as it is.
func (b *Book) All(held []Held) ([]netops.Bridge, []*Contradiction) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rebuild(held)
	found := b.contradictions()
	names := map[string]bool{}
	for _, u := range b.uses {
		names[u.Bridge.Name] = true
	}
	var all []netops.Bridge
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, b.decided(name, found))
	}
	return all, found
}

// contradictions are those among the recorded uses.
func (b *Book) contradictions() (found []*Contradiction) {
	uses := b.sorted()
	for i, u := range uses {
		for _, other := range uses[:i] {
			if c := contradiction(other, u); c != nil {
				found = append(found, c)
			}
		}
	}
	return found
}

// decided is a bridge that serves all its uses. A contradicted property stays as it is.
func (b *Book) decided(name string, found []*Contradiction) netops.Bridge {
	undecided := func(about subject) bool {
		return slices.ContainsFunc(found, func(c *Contradiction) bool { return c.about == about && c.Bridge == name })
	}
	bridge := b.union(name)
	if undecided(ofMTU) {
		bridge.MTU = 0
	}
	if undecided(ofUplink) {
		bridge = netops.Bridge{Name: name}
	}
	return bridge
}

// rebuild forgets the uses without containers.
func (b *Book) rebuild(held []Held) {
	uses := map[key]Use{}
	for _, h := range held {
		if _, admitted := b.uses[h.key()]; !h.Answered && !admitted {
			continue
		}
		if other, ok := uses[h.key()]; ok { // the network's own configuration has changed
			h.Bridge.Uplink = cmp.Or(h.Bridge.Uplink, other.Bridge.Uplink)
			h.Bridge.Masquerade = join(slices.Clone(h.Bridge.Masquerade), other.Bridge.Masquerade)
		}
		uses[h.key()] = h.Use
	}
	b.uses = uses
}

func (b *Book) sorted() []Use {
	return slices.SortedFunc(maps.Values(b.uses), func(x, y Use) int {
		return cmp.Or(cmp.Compare(x.Bridge.Name, y.Bridge.Name), cmp.Compare(x.Network, y.Network), cmp.Compare(x.Pool, y.Pool))
	})
}

// union is a bridge that serves all its uses.
func (b *Book) union(name string) netops.Bridge {
	all := netops.Bridge{Name: name}
	var mtus []int
	for _, u := range b.sorted() {
		if u.Bridge.Name != name {
			continue
		}
		all.Uplink = cmp.Or(all.Uplink, u.Bridge.Uplink)
		all.Addresses = join(all.Addresses, u.Bridge.Addresses)
		all.Subnets = join(all.Subnets, u.Bridge.Subnets)
		all.Masquerade = join(all.Masquerade, u.Bridge.Masquerade)
		mtus = append(mtus, u.Bridge.MTU)
	}
	slices.SortFunc(all.Addresses, netip.Prefix.Compare)
	slices.SortFunc(all.Subnets, netip.Prefix.Compare)
	slices.SortFunc(all.Masquerade, netip.Prefix.Compare)
	all.MTU = widest(mtus)
	return all
}

// widest is the greatest MTU, so that the bridge has room for all. 0 leaves the bridge's MTU as it is, which must not shrink.
func widest(mtus []int) int {
	const usual = 1500
	if most := slices.Max(mtus); most > usual || !slices.Contains(mtus, 0) {
		return most
	}
	return 0
}

func join(all, more []netip.Prefix) []netip.Prefix {
	for _, p := range more {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// contradiction says what two uses contradict each other about; nil: nothing. Later containers of a network may add to what the
// earlier ones have, but not move to another uplink.
func contradiction(a, b Use) *Contradiction {
	samePool, sameBridge, sameNetwork := a.Pool == b.Pool, a.Bridge.Name == b.Bridge.Name, a.Network == b.Network
	both := fmt.Sprintf("networks %q and %q contradict each other", a.Network, b.Network)
	switch {
	case sameBridge && a.Bridge.Uplink != b.Bridge.Uplink && sameNetwork:
		return &Contradiction{b.Bridge.Name,
			fmt.Sprintf("network %q has %s for bridge %s now, and its containers that run here were made with %s",
				a.Network, uplink(b), b.Bridge.Name, uplink(a)), "end those first, or give the network another bridge", ofUplink}
	case sameBridge && a.Bridge.Uplink != b.Bridge.Uplink:
		return &Contradiction{b.Bridge.Name,
			fmt.Sprintf("%s about bridge %s: the first has %s, the second %s", both, a.Bridge.Name, uplink(a), uplink(b)),
			"give both the same uplink, or one of them another bridge", ofUplink}
	case sameBridge && !samePool && a.Bridge.Uplink == "" && a.Bridge.MTU != b.Bridge.MTU && a.Bridge.MTU != 0 && b.Bridge.MTU != 0:
		return &Contradiction{b.Bridge.Name, fmt.Sprintf("%s about the MTU of bridge %s: pool %q of the first has %d, pool %q of the second %d",
			both, a.Bridge.Name, a.Pool, a.Bridge.MTU, b.Pool, b.Bridge.MTU), "give both pools the same MTU, " +
			"or one of the networks another bridge", ofMTU}
	case samePool && !sameNetwork && (len(a.Bridge.Masquerade) == 0) != (len(b.Bridge.Masquerade) == 0):
		return &Contradiction{b.Bridge.Name, fmt.Sprintf("%s about pool %q: the first has ipMasq %v, the second %v", both, a.Pool,
			len(a.Bridge.Masquerade) > 0, len(b.Bridge.Masquerade) > 0), "give both the same ipMasq, or one of them another pool", ofPool}
	case samePool && !sameBridge && len(a.Bridge.Addresses) > 0 && len(b.Bridge.Addresses) > 0:
		return &Contradiction{b.Bridge.Name,
			fmt.Sprintf("%s about the gateway of pool %q: the first has it on bridge %s, the second on bridge %s", both, a.Pool,
				a.Bridge.Name, b.Bridge.Name), "give both the same bridge, or one of them another pool", ofPool}
	}
	return nil
}

func uplink(u Use) string {
	if u.Bridge.Uplink == "" {
		return "no uplink"
	}
	return "uplink " + u.Bridge.Uplink
}
