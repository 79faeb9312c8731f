package l2

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
		got := hex.EncodeToString(AnnouncementFrame(netip.MustParseAddr(address), mac))
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

func TestQuestionsAreFramesThatClaimNothing(t *testing.T) {
	mac := net.HardwareAddr{0xbe, 0, 10, 42, 0, 7}
	for address, want := range map[string]string{
		"10.42.0.9": `ffffffffffff be000a2a0007 0806
			0001 0800 06 04 0001 be000a2a0007 00000000 000000000000 0a2a0009`,
		"fd42::12:3456": `3333ff123456 be000a2a0007 86dd
			60000000 0018 3a ff 00000000000000000000000000000000 ff0200000000000000000001ff123456
			87 00 CSUM 00000000 fd420000000000000000000000123456`,
	} {
		got := hex.EncodeToString(probeFrame(netip.MustParseAddr(address), mac))
		want = strings.Join(strings.Fields(want), "")
		if i := strings.Index(want, "CSUM"); i >= 0 {
			want = want[:i] + got[i:i+4] + want[i+4:]
		}
		if got != want {
			t.Errorf("%s:\n%s, want\n%s", address, got, want)
		}
	}
}

func TestAnAnnouncementIsAnAnswerAndAQuestionIsNone(t *testing.T) {
	mac := net.HardwareAddr{0xbe, 0, 10, 42, 0, 7}
	for _, text := range []string{"10.42.0.7", "fd42::7"} {
		want := netip.MustParseAddr(text)
		frame := AnnouncementFrame(want, mac)
		if a, got, ok := answer(frame); !ok || a != want || got.String() != mac.String() {
			t.Errorf("%v: %v has %v, %v", want, got, a, ok)
		}
		for n := range frame {
			if a, got, ok := answer(frame[:n]); ok && (a != want || len(got) != 6) {
				t.Errorf("%v, cut after %d bytes: %v has %v", want, n, got, a)
			}
		}
		if a, _, ok := answer(probeFrame(want, mac)); ok && a == want {
			t.Errorf("%v: a question is taken for an answer", want)
		}
	}
}
