package agent

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/internal/task"
)

func TestAnAddressThatChangesWhileItIsPublishedCountsOnce(t *testing.T) {
	var b backlog
	b.signal = task.NewSignal()
	first, second := netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("10.42.0.2")
	b.add("default", []netip.Addr{first})
	b.take()
	b.add("default", []netip.Addr{first, second})
	if n := b.len(); n != 2 {
		t.Errorf("%d addresses are behind, want 2", n)
	}
	if b.done(); b.len() != 2 {
		t.Errorf("%d addresses are behind: both have changed since", b.len())
	}
}
