package allocator

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// MaxBlockBits bounds a block to 65,536 addresses, because its owner keeps a record of each.
const MaxBlockBits = 16

// MaxTime bounds every time that is configured, so that none can overflow when others are added to it.
const MaxTime = Duration(100 * 365 * 24 * time.Hour)

// Bounds of an MTU in bytes: what every host must take (RFC 791, section 3.2; RFC 8200, section 5), and what the
// kernel's interfaces have at most.
const (
	minMTUV4 = 576
	minMTUV6 = 1280
	maxMTU   = 65535
)

// unfit are addresses that no container can have on a network: "this" network, loopback, multicast, link-local ones of
// IPv6, which interfaces give themselves, and IPv4 in IPv6 (RFC 6890).
var unfit = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("::ffff:0:0/96"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// Validate reports the first thing in a pool (with its defaults in place) that cannot be.
func (p Pool) Validate() error {
	if err := ValidName("pool name", p.Name); err != nil {
		return err
	}
	checks := [...]func() error{
		p.validCIDRs, p.validMode, p.validGateways, p.validStateful, p.validExclude, p.validRoutes, p.validMTU, p.validDNS, p.validTimes,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return fmt.Errorf("pool %q: %w", p.Name, err)
		}
	}
	return nil
}

func (p *Pool) validCIDRs() error {
	if len(p.CIDRs) == 0 {
		return fmt.Errorf("cidrs is missing: want one CIDR, or one of each family")
	}
	var seen [2]bool
	for _, c := range p.CIDRs {
		if err := validPrefix("cidr", c); err != nil {
			return err
		}
		f := FamilyOf(c.Addr())
		if seen[f] {
			return fmt.Errorf("cidr %s is the second one of its family: want one of each at most; make another pool", c)
		}
		seen[f] = true
		for _, u := range unfit {
			if c.Overlaps(u) {
				return fmt.Errorf("cidr %s overlaps %s, whose addresses containers cannot have", c, u)
			}
		}
		if err := p.validBlock(f, c); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pool) validBlock(f Family, cidr netip.Prefix) error {
	size, all := p.blockBits(f), addressBits(f)
	switch {
	case size < all-MaxBlockBits || size > all:
		return fmt.Errorf("blockSize %s %d: want %d to %d", f, size, all-MaxBlockBits, all)
	case cidr.Bits() > all-2:
		return fmt.Errorf("cidr %s is too small: want /%d or larger", cidr, all-2)
	case cidr.Bits() > size:
		return fmt.Errorf("cidr %s is smaller than a block of blockSize %s %d: want a CIDR of /%d or larger, or a blockSize %s of %d or more",
			cidr, f, size, size, f, cidr.Bits())
	}
	return nil
}

func (p *Pool) validGateways() error {
	var seen [2]bool
	for _, g := range p.Gateways {
		f := FamilyOf(g)
		cidr := p.CIDR(f)
		switch {
		case seen[f]:
			return fmt.Errorf("gateway %s is the second one of its family: want one of each at most", g)
		case !cidr.IsValid():
			return fmt.Errorf("gateway %s: the pool has no addresses of its family", g)
		case p.OnLink && g.IsValid() && !cidr.Contains(g):
			if !g.IsLinkLocalUnicast() && slices.ContainsFunc(unfit[:], func(u netip.Prefix) bool { return u.Contains(g) }) {
				return fmt.Errorf("gateway %s: no router can have this address: want a unicast one, such as 169.254.1.1 or fe80::1", g)
			}
		case !cidr.Contains(g):
			return fmt.Errorf("gateway %s lies outside of the pool: want an address in %s, or gatewayOnLink: true where it is on the same "+
				"link all the same", g, p.cidrWords())
		case g == cidr.Addr() || f == V4 && g == last(cidr):
			return fmt.Errorf("gateway %s is an end of %s, which no host can have: want one between", g, cidr)
		}
		seen[f] = true
	}
	return nil
}

func (p *Pool) validStateful() error {
	for i, s := range p.Stateful {
		if err := validPrefix("stateful range", s); err != nil {
			return err
		}
		f := FamilyOf(s.Addr())
		cidr, size := p.CIDR(f), p.blockBits(f)
		switch {
		case !cidr.Contains(s.Addr()) || s.Bits() < cidr.Bits():
			return fmt.Errorf("stateful range %s lies outside of the pool: want a part of %s", s, p.cidrWords())
		case s.Bits() > size:
			return fmt.Errorf("stateful range %s is not aligned to blocks: want whole blocks of /%d, such as %s",
				s, size, netip.PrefixFrom(s.Addr(), size).Masked())
		}
		for _, other := range p.Stateful[:i] {
			if s.Overlaps(other) {
				return fmt.Errorf("stateful ranges %s and %s overlap: want the larger one alone", other, s)
			}
		}
	}
	return nil
}

func (p *Pool) validExclude() error {
	for _, e := range p.Exclude {
		switch {
		case !e.From.IsValid() || !e.To.IsValid():
			return fmt.Errorf("exclude holds an empty range: want an address, two with '-' between, or a CIDR")
		case FamilyOf(e.From) != FamilyOf(e.To) || e.To.Less(e.From):
			return fmt.Errorf("exclude %s: want its first address, then its last", e)
		case !p.Contains(e.From) || !p.Contains(e.To):
			return fmt.Errorf("exclude %s lies outside of the pool: want a part of %s", e, p.cidrWords())
		}
	}
	return nil
}

func (p *Pool) validRoutes() error {
	seen := make(map[netip.Prefix]bool, len(p.Routes))
	for _, r := range p.Routes {
		if err := validPrefix("route", r.To); err != nil {
			return err
		}
		f := FamilyOf(r.To.Addr())
		switch {
		case seen[r.To]:
			return fmt.Errorf("route %s is there twice", r.To)
		case !p.CIDR(f).IsValid():
			return fmt.Errorf("route %s: the pool has no addresses of its family", r.To)
		case !r.Via.IsValid() && !p.Gateway(f).IsValid():
			return fmt.Errorf("route %s has no via, and the pool no gateway of its family: want one of them", r.To)
		case r.Via.IsValid() && !p.CIDR(f).Contains(r.Via) && r.Via != p.Gateway(f):
			return fmt.Errorf("route %s via %s: want a via in %s", r.To, r.Via, p.CIDR(f))
		}
		seen[r.To] = true
	}
	return nil
}

func (p *Pool) validMTU() error {
	least := minMTUV4
	if p.CIDR(V6).IsValid() {
		least = minMTUV6
	}
	if p.MTU != 0 && (p.MTU < least || p.MTU > maxMTU) {
		return fmt.Errorf("mtu %d: want %d to %d, or 0 for the bridge's", p.MTU, least, maxMTU)
	}
	return nil
}

func (p *Pool) validDNS() error {
	for _, n := range p.DNS.Nameservers {
		if _, err := netip.ParseAddr(n); err != nil {
			return fmt.Errorf("dns nameserver %q: want an address", n)
		}
	}
	words := append([]string{p.DNS.Domain}, p.DNS.Search...)
	for _, w := range append(words, p.DNS.Options...) {
		if strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Errorf("dns %q: want no space or control character", w)
		}
	}
	return nil
}

func (p *Pool) validTimes() error {
	for _, d := range [...]struct {
		key  string
		time Duration
	}{{"reuse", p.Reuse}, {"cooldown", p.Cooldown}, {"retain", p.Retain}} {
		switch {
		case d.time < 0:
			return fmt.Errorf("%s %s: want 0s or more", d.key, d.time)
		case d.time > MaxTime:
			return fmt.Errorf("%s %s: want %s at most", d.key, d.time, MaxTime)
		}
	}
	return nil
}

// validPrefix wants p to be its own network's prefix.
func validPrefix(what string, p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("%s is empty: want one such as 10.42.0.0/16", what)
	case p != p.Masked():
		return fmt.Errorf("%s %s has bits beyond its length: want %s", what, p, p.Masked())
	}
	return nil
}

func (p *Pool) cidrWords() string {
	words := make([]string, len(p.CIDRs))
	for i, c := range p.CIDRs {
		words[i] = c.String()
	}
	return strings.Join(words, " or ")
}
