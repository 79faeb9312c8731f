package journal

import (
	"net/netip"
	"path/filepath"
	"testing"
)

func TestWhatIsQuarantinedIsReadBackAlsoFromARewrittenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	block := netip.MustParsePrefix("10.42.16.0/26")
	as := func(what string, forgot bool, parts int) {
		t.Helper()
		again := open(t, path) // not closed: as after kill -9
		same(t, j, again)
		if n := len(again.Quarantined()); again.LostJournal() != forgot || n != parts {
			t.Errorf("%s: %d blocks are in quarantine, the journal is lost: %v", what, n, again.LostJournal())
		}
	}
	for _, rewritten := range []bool{false, true} {
		step := func(what string, forgot bool, parts int) {
			t.Helper()
			if rewritten {
				must(t, j.rewrite())
			}
			as(what, forgot, parts)
		}
		must(t, j.SetLostJournal())
		step("forgotten", true, 0)
		j.SetQuarantined([]Quarantined{{Pool: "default", Block: block, Parts: []netip.Prefix{block}}})
		step("in quarantine", false, 1)
		must(t, j.SetLostJournal())
		step("forgotten again", true, 1)
		j.SetQuarantined(nil)
		step("nothing is in quarantine any more", false, 0)
	}
}
