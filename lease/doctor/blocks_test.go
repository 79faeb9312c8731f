package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/record"
)

func TestBlocksOfANodeThatEtcdHasLostAreGivenAwayOnlyByItsRemoval(t *testing.T) {
	l := newLab(t)
	const key = "blocks/default/10.42.80.0"
	l.put(key, `{"prefix":"10.42.80.0/26","parts":[{"prefix":"10.42.80.0/27","owner":"ghost"},{"prefix":"10.42.80.32/27","owner":"n1"}]}`)
	l.put("blocks/nowhere/10.43.0.0", `{"prefix":"10.43.0.0/26","parts":[{"prefix":"10.43.0.0/26","owner":"ghost"}]}`)
	l.says("n1", func(a *record.NodeReport) {
		a.Spaces[0].Parts = append(a.Spaces[0].Parts, netip.MustParsePrefix("10.42.80.32/27"))
	})
	for _, mode := range []string{"strict", "evidence"} {
		l.fence(mode)
		for _, f := range l.finds(BlockNoPool, PartUnknownNode) {
			if f.Fix || !strings.Contains(f.Repair, "berthctl node remove ghost") {
				t.Errorf("in mode %s it is told as %+v", mode, f)
			}
		}
	}
	if _, err := l.store.Admin.RemoveNode(t.Context(), "ghost", admin.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	l.finds()
	l.put(key, `{"prefix":"10.42.80.0/26","parts":[{"prefix":"10.42.80.0/27","owner":"ghost"},{"prefix":"10.42.80.32/27","owner":"n1"}]}`)
	l.finds(PartRemovedNode)
	l.fixes()
	if rest := l.get(key); strings.Contains(rest, "ghost") || !strings.Contains(rest, "n1") {
		t.Errorf("the block is %s, want n1's part of it", rest)
	}
}

func TestMalformedBlocksAreFoundAndOnesInUseStay(t *testing.T) {
	l := newLab(t)
	for key, record := range map[string]string{
		"blocks/default/10.42.80.0":   `{"prefix":"10.42.80.0/25","parts":[{"prefix":"10.42.80.0/25","owner":"ghost"}]}`,
		"blocks/default/10.42.81.0":   `{"prefix":"10.42.82.0/26","parts":[{"prefix":"10.42.82.0/26","owner":"ghost"}]}`,
		"blocks/default/10.42.83.0":   `{"prefix":"10.42.83.0/26","parts":[]}`,
		"blocks/default/10.42.84.0":   `{"prefix":"10.42.84.0/26","parts":[{"prefix":"10.42.84.0/26","owner":"n1"},{"prefix":"10.42.84.32/27","owner":"n2"}]}`,
		"blocks/default/10.42.85.0":   `{"prefix":"10.42.85.0/26","parts":[{"prefix":"10.42.86.0/26","owner":"n1"}]}`,
		"blocks/default/10.42.87.0":   `{"prefix":"10.42.87.0/26","parts":[{"prefix":"10.42.87.0/27","owner":"stateful"},{"prefix":"10.42.87.32/27","owner":"n1"}]}`,
		"blocks/default/192.168.88.0": `{"prefix":"192.168.88.0/26","parts":[{"prefix":"192.168.88.0/26","owner":"ghost"}]}`,
	} {
		l.put(key, record)
	}
	l.put("nodes/ghost", `{"name":"ghost","removed":"2026-01-01T00:00:00Z"}`)
	l.finds(append(slices.Repeat([]Kind{BlockMalformed}, 4), slices.Repeat([]Kind{RecordUnreadable}, 3)...)...)
	l.put("assignments/default/10.42.84.9", `{"attachment":{"network":"net","container":"a","interface":"eth0"},"node":"n1"}`)
	l.has("n1", "a", "10.42.84.9")
	l.says("n1", func(a *record.NodeReport) {
		a.Spaces[0].Parts = append(a.Spaces[0].Parts, netip.MustParsePrefix("10.42.84.0/26"))
	})
	// What cannot be read comes first; what only its pool contradicts follows, once nothing hides whose it is.
	l.fixes()
	if got := l.get("blocks/default/10.42.84.0"); !strings.Contains(got, `[{"prefix":"10.42.84.0/26","owner":"n1"}]`) {
		t.Errorf("the one in use is %s, want it n1's, who says that it holds it", got)
	}
}
