package faults

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

func TestAReplicaWhoseAddressIsInNoPartOfItsNodeIsReported(t *testing.T) {
	n1 := &host{Node: &lab.Node{Name: "n1"}}
	replica := &instance{Container: &lab.Container{ID: "a"}, key: "a", host: n1, had: []netip.Addr{netip.MustParseAddr("10.0.0.9")}}
	member := &instance{Container: &lab.Container{ID: "m"}, key: "m", host: n1, member: "db-0",
		had: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	for name, c := range map[string]struct {
		parts []part
		may   map[string]bool
		lines int
	}{
		"its node's":            {[]part{{netip.MustParsePrefix("10.0.0.8/30"), "n1"}, {netip.MustParsePrefix("10.0.0.12/30"), "n2"}}, nil, 0},
		"another node's":        {[]part{{netip.MustParsePrefix("10.0.0.8/30"), "n2"}, {netip.MustParsePrefix("10.0.0.12/30"), "n1"}}, nil, 1},
		"nobody's":              {nil, nil, 1},
		"one it may go without": {nil, map[string]bool{"a": true}, 0},
	} {
		if lines := strangers([]*instance{replica, member}, c.may, c.parts); len(lines) != c.lines {
			t.Errorf("%s: it is told in %q: want %d lines", name, lines, c.lines)
		}
	}
}
