package journal

import (
	"net/netip"
	"path/filepath"
	"testing"
)

func TestWhatIsShunnedIsReadBackAlsoFromARewrittenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	block := netip.MustParsePrefix("10.42.16.0/26")
	as := func(what string, forgot bool, parts int) {
		t.Helper()
		again := open(t, path) // not closed: as after kill -9
		same(t, j, again)
		if n := len(again.Shunned()); again.Forgot() != forgot || n != parts {
			t.Errorf("%s: %d blocks are shunned, to be shunned: %v", what, n, again.Forgot())
		}
	}
	for _, rewritten := range []bool{false, true} {
		step := func(what string, err error, forgot bool, parts int) {
			t.Helper()
			must(t, err)
			if rewritten {
				must(t, j.rewrite())
			}
			as(what, forgot, parts)
		}
		step("forgotten", j.SetForgot(), true, 0)
		step("shunned", j.SetShunned([]Shunned{{Pool: "default", Block: block, Parts: []netip.Prefix{block}}}), false, 1)
		step("forgotten again", j.SetForgot(), true, 1)
		step("nothing is shunned any more", j.SetShunned(nil), false, 0)
	}
}
