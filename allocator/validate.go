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
		return fmt.Errorf("cidrs is missing: want one CIDR or more, of one family or both")
	}
	for i, c := range p.CIDRs {
		if err := validPrefix("cidr", c); err != nil {
			return err
		}
		for _, other := range p.CIDRs[:i] {
			if c.Overlaps(other) {
				return fmt.Errorf("cidrs %s and %s overlap: want the larger one alone", other, c)
			}
		}
		for _, u := range unfit {
			if c.Overlaps(u) {
				return fmt.Errorf("cidr %s overlaps %s, whose addresses containers cannot have", c, u)
			}
		}
		if err := p.validBlock(FamilyOf(c.Addr()), c); err != nil {
			return err
		}
	}
	for _, c := range p.DrainingCIDRs {
		if !slices.Contains(p.CIDRs, c) {
			return fmt.Errorf("cidr %s is to drain, and is none of the pool's: want one of %s", c, words(p.CIDRs, " or "))
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

func (p *Pool) validStateful() error {
	for i, s := range p.Stateful {
		if err := validPrefix("stateful range", s); err != nil {
			return err
		}
		cidr, size := p.CIDROf(s.Addr()), p.blockBits(FamilyOf(s.Addr()))
		switch {
		case !cidr.IsValid() || s.Bits() < cidr.Bits():
			return fmt.Errorf("stateful range %s lies outside of the pool: want a part of %s", s, words(p.CIDRs, " or "))
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

// covers reports whether every address of r is in the pool.
func (p *Pool) covers(r Range) bool {
	var cidrs []Range
	for _, c := range p.CIDRs {
		cidrs = append(cidrs, rangeOf(c))
	}
	return len(without(r, cidrs)) == 0
}

func (p *Pool) validExclude() error {
	for _, e := range p.Exclude {
		switch {
		case !e.From.IsValid() || !e.To.IsValid():
			return fmt.Errorf("exclude holds an empty range: want an address, two with '-' between, or a CIDR")
		case FamilyOf(e.From) != FamilyOf(e.To) || e.To.Less(e.From):
			return fmt.Errorf("exclude %s: want its first address, then its last", e)
		case !p.covers(e):
			return fmt.Errorf("exclude %s lies outside of the pool: want a part of %s", e, words(p.CIDRs, " or "))
		}
	}
	return nil
}

func (p *Pool) validMTU() error {
	least := minMTUV4
	if p.Has(V6) {
		least = minMTUV6
	}
	if p.MTU != 0 && (p.MTU < least || p.MTU > maxMTU) {
		return fmt.Errorf("mtu %d: want %d to %d, or 0 for the bridge's, and in other modes than flat for what fits between nodes",
			p.MTU, least, maxMTU)
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

// words are CIDRs for people.
func words(cidrs []netip.Prefix, between string) string {
	all := make([]string, len(cidrs))
	for i, c := range cidrs {
		all[i] = c.String()
	}
	return strings.Join(all, between)
}
