package l2

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

func TestTheSocketsFilterTakesARPAndNeighbourAdvertisementsOnly(t *testing.T) {
	var raw []bpf.RawInstruction
	for _, i := range answersOnly {
		raw = append(raw, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	program, all := bpf.Disassemble(raw)
	if !all {
		t.Fatal("the filter has instructions that x/net/bpf does not know")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	mac := net.HardwareAddr{0xbe, 0, 10, 42, 0, 7}
	v4, v6 := netip.MustParseAddr("10.42.0.7"), netip.MustParseAddr("fd42::7")
	changed := func(frame []byte, at int, to byte) []byte { frame[at] = to; return frame }
	for name, c := range map[string]struct {
		frame []byte
		taken bool
	}{
		"an ARP announcement":            {AnnouncementFrame(v4, mac), true},
		"an ARP probe":                   {probeFrame(v4, mac), true},
		"a neighbour advertisement":      {AnnouncementFrame(v6, mac), true},
		"a neighbour solicitation":       {probeFrame(v6, mac), false},
		"UDP over IPv6":                  {changed(AnnouncementFrame(v6, mac), 20, 17), false},
		"a frame of another protocol":    {changed(AnnouncementFrame(v4, mac), 13, 0), false},
		"a frame cut after its protocol": {AnnouncementFrame(v6, mac)[:14], false},
	} {
		n, err := vm.Run(c.frame)
		if err != nil {
			t.Fatal(err)
		}
		if taken := n >= len(c.frame); taken != c.taken {
			t.Errorf("%s: taken %v, want %v", name, taken, c.taken)
		}
	}
}
