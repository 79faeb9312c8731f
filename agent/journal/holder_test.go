package journal

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/disk"
)

// A member comes back to a node on which its former container still is, isolated.
func TestAnIsolatedEntryIsNotTheHolderOfWhatAnotherHasSince(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	open := func() *Journal {
		j, err := Open(disk.Machine{}, path, Header{Node: "n1", Boot: "b", ID: "j"}, func() allocator.Instant { return 0 })
		must(t, err)
		return j
	}
	j := open()
	addr := netip.MustParseAddr("10.42.0.25")
	entry := func(id string, epoch int64) *Entry {
		return &Entry{Attachment: allocator.Attachment{Network: "net", Container: id, Interface: "eth0"}, Class: allocator.Stateful,
			Pool: "default", App: allocator.App{Namespace: "ns", Name: "db"}, Member: "db-8",
			Addresses: []netip.Addr{addr}, Epoch: epoch, Answered: 1}
	}
	former, present := entry("former", 2), entry("present", 8)
	holds := func(when string) {
		t.Helper()
		if e := j.Holder("default", addr); e == nil || e.Attachment != present.Attachment {
			t.Errorf("%s the holder is %+v: want the present one", when, e)
		}
	}
	must(t, j.Hold(former))
	isolated, _ := j.Isolate(former, Isolation{Epoch: 3, Reason: "it is another's"})
	must(t, j.Hold(present))
	holds("after its ADD")
	j.Isolate(isolated, Isolation{Epoch: 5, Reason: "it is another's yet"})
	holds("after the former one was isolated anew")
	must(t, j.Change(former))
	holds("after the former one was written again")
	must(t, j.Close())
	j = open()
	holds("after a restart")
	must(t, j.Close())
}
