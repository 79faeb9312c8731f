package kernel

import (
	"net/netip"
	"slices"
)

// otherwise are the addresses of a link that are the same as want with another prefix length.
func (l *link) otherwise(want netip.Prefix) (all []netip.Prefix) {
	for _, a := range l.addresses {
		if a.Addr() == want.Addr() && a.Prefix != want {
			all = append(all, a.Prefix)
		}
	}
	return all
}

// relength gives a link's addresses the prefix lengths that they are to have.
func (l *link) relength(wanted []netip.Prefix) error {
	for _, want := range wanted {
		if l.has(want) {
			continue
		}
		if err := l.giveLength(address{want, false}, func(address) bool { return true }); err != nil {
			return err
		}
	}
	return nil
}

// giveLength gives a link an address in the place of those that are the same with another prefix length and may go: see
// netops/prefixlength.go.
func (l *link) giveLength(want address, may func(address) bool) error {
	former := l.otherwise(want.Prefix)
	goes := func(a address) bool { return may(a) && slices.Contains(former, a.Prefix) }
	if want.Addr().Is6() {
		l.withdraw(goes)
		return l.give(want)
	}
	if err := l.give(want); err != nil {
		return err
	}
	l.withdraw(goes)
	return nil
}
