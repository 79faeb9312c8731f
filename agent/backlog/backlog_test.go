package backlog

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/internal/task"
)

func TestAnAddressThatChangesWhileItIsPublishedCountsOnce(t *testing.T) {
	var b Backlog
	b.Signal = task.NewSignal()
	first, second := netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("10.42.0.2")
	b.Add("default", []netip.Addr{first})
	b.Pop()
	b.Add("default", []netip.Addr{first, second})
	if n := b.Len(); n != 2 {
		t.Errorf("%d addresses are behind, want 2", n)
	}
	if b.Done(); b.Len() != 2 {
		t.Errorf("%d addresses are behind: both have changed since", b.Len())
	}
}
