package netops

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestAnnouncementsAreFramesThatNeighboursRead(t *testing.T) {
	mac := net.HardwareAddr{0xbe, 0, 10, 42, 0, 7}
	for address, want := range map[string]string{
		"10.42.0.7": `ffffffffffff be000a2a0007 0806
			0001 0800 06 04 0001 be000a2a0007 0a2a0007 000000000000 0a2a0007`,
		"fd42::7": `333300000001 be000a2a0007 86dd
			60000000 0020 3a ff fd420000000000000000000000000007 ff020000000000000000000000000001
			88 00 CSUM 20000000 fd420000000000000000000000000007 02 01 be000a2a0007`,
	} {
		got := hex.EncodeToString(announcement(netip.MustParseAddr(address), mac))
		want = strings.Join(strings.Fields(want), "")
		if i := strings.Index(want, "CSUM"); i >= 0 {
			want = want[:i] + got[i:i+4] + want[i+4:]
		}
		if got != want {
			t.Errorf("%s:\n%s, want\n%s", address, got, want)
		}
	}
}

func TestTheChecksumIsTheInternets(t *testing.T) {
	// The example of RFC 1071, section 3: the sum is ddf2.
	if got := checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != ^uint16(0xddf2) {
		t.Errorf("%04x", got)
	}
}
