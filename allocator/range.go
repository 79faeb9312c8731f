package allocator

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Range is the addresses from From to To, both of one family and both inside it. People write it "10.42.0.7",
// "10.42.0.7-10.42.0.20" or "10.42.1.0/24".
type Range struct{ From, To netip.Addr }

// Contains reports whether a lies in r.
func (r Range) Contains(a netip.Addr) bool { return r.From.Compare(a) <= 0 && a.Compare(r.To) <= 0 }

// String is the shortest way to write r.
func (r Range) String() string {
	if r.From == r.To {
		return r.From.String()
	}
	for bits := range r.From.BitLen() {
		if p := netip.PrefixFrom(r.From, bits); p == p.Masked() && last(p) == r.To {
			return p.String()
		}
	}
	return r.From.String() + "-" + r.To.String()
}

// MarshalText makes the JSON and YAML form.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what people write.
func (r *Range) UnmarshalText(text []byte) error {
	parsed, err := parseRange(string(text))
	if err != nil {
		return fmt.Errorf("range %q: %w", text, err)
	}
	*r = parsed
	return nil
}

func parseRange(s string) (Range, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return Range{}, err
		}
		if p != p.Masked() {
			return Range{}, fmt.Errorf("the address has bits beyond the prefix: want %s", p.Masked())
		}
		if p.Addr().Is4In6() {
			return Range{}, fmt.Errorf("want IPv4 written as IPv4")
		}
		return rangeOf(p), nil
	}
	first, second, two := strings.Cut(s, "-")
	from, err := parsePlain(first)
	if err != nil || !two {
		return Range{from, from}, err
	}
	to, err := parsePlain(second)
	switch {
	case err != nil:
		return Range{}, err
	case FamilyOf(from) != FamilyOf(to):
		return Range{}, fmt.Errorf("%s and %s are of different families", from, to)
	case to.Less(from):
		return Range{}, fmt.Errorf("it ends before it begins: want %s-%s", to, from)
	}
	return Range{from, to}, nil
}

// parsePlain reads an address that has neither zone nor an IPv4 address mapped into it.
func parsePlain(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, err
	case a.Zone() != "":
		return netip.Addr{}, fmt.Errorf("address %s has a zone: want none", a)
	case a.Is4In6():
		return netip.Addr{}, fmt.Errorf("address %s: want %s", a, a.Unmap())
	}
	return a, nil
}
