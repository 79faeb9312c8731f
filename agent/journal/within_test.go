package journal

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/allocator"
)

func TestWhatLiesInABlockIsFoundOnceWhetherHeldOrFree(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	block, other := netip.MustParsePrefix("10.42.0.0/26"), netip.MustParsePrefix("10.42.0.64/26")
	a, b, beyond := entry(1, allocator.Stateless), entry(2, allocator.Stateless), entry(70, allocator.Stateless)
	a.Addresses = append(a.Addresses, netip.MustParseAddr("10.42.0.9")) // two in the block
	if a.AddressList() != "10.42.0.1, 10.42.0.9" || len(j.Within("default", block)) != 0 {
		t.Errorf("%q, and %v", a.AddressList(), j.Within("default", block))
	}
	looked := j.Looked()
	for i, e := range []*Entry{a, b, beyond} {
		must(t, j.Hold(e))
		if n := len(j.Within("default", block)); n != min(i+1, 2) {
			t.Errorf("after %d there are %d in the block", i+1, n)
		}
	}
	if n := len(j.Within("default", other)); n != 1 || len(j.Within("elsewhere", block)) != 0 || j.Looked() == looked {
		t.Errorf("there are %d in the other one, by %d looks", n, j.Looked()-looked)
	}
	j.Release(Release{Attachment: b.Attachment, At: 1})
	j.Release(Release{Attachment: a.Attachment, At: 2})
	j.Release(Release{Attachment: beyond.Attachment, At: 3})
	free := j.FreedWithin("default", block)
	if len(free) != 3 || free[0].Address != b.Addresses[0] || free[1].Address != a.Addresses[0] || free[2].Address != a.Addresses[1] {
		t.Errorf("free, the longest first, are %+v", free)
	}
	j.Forget([]Freed{{Pool: "default", Address: netip.MustParseAddr("10.42.0.50")}}) // which was never held
	j.ForgetWithin("default", block)
	if free := j.Freed(); len(free) != 1 || free[0].Address != beyond.Addresses[0] {
		t.Errorf("what was not in the block is %+v", free)
	}
	if j.Isolation(a.Attachment) != nil {
		t.Error("what is gone is isolated")
	}
}

func TestAChangeThatCannotBeWrittenChangesNothing(t *testing.T) {
	d := &counted{}
	j, err := Open(d, filepath.Join(t.TempDir(), "journal"), mine, clock)
	must(t, err)
	defer j.Close()
	e := entry(1, allocator.Stateless)
	must(t, j.Change(e)) // which is not held yet
	next := *e
	next.Revision = 9
	d.fails = "write"
	if err := j.Change(&next); !errors.Is(err, unix.EIO) || j.Get(e.Attachment).Revision != 0 {
		t.Errorf("%v, and it is %+v", err, j.Get(e.Attachment))
	}
	d.fails = ""
	must(t, j.Change(&next))
	if open(t, j.Path()).Get(e.Attachment).Revision != 9 {
		t.Error("it is not written")
	}
}

func TestAReasonAsLongAsMayBeIsKeptWhole(t *testing.T) {
	for n, whole := range map[int]bool{maxReason: true, maxReason + 1: false} {
		if got := (Isolation{Reason: strings.Repeat("x", n)}).bounded().Reason; (len(got) == n) != whole || len(got) > maxReason {
			t.Errorf("of %d bytes there are %d", n, len(got))
		}
	}
}

func TestWhatWasFreedOfAPartThatIsLostIsNotFreeAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	a, b, c := entry(1, allocator.Stateless), entry(2, allocator.Stateless), entry(3, allocator.Stateless)
	for i, e := range []*Entry{a, b, c} {
		must(t, j.Hold(e))
		j.Release(Release{Attachment: e.Attachment, At: allocator.Instant(i + 1)})
	}
	j.ForgetWithin("default", netip.PrefixFrom(a.Addresses[0], 32))
	j.Forget(j.FreedWithin("default", netip.PrefixFrom(b.Addresses[0], 32)))
	must(t, j.Close())
	if free := open(t, path).Freed(); len(free) != 1 || free[0].Address != c.Addresses[0] {
		t.Errorf("free are %+v", free)
	}
}

func TestTheAddressOfAnIsolatedEntryIsNotFreeWhenItEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	e := entry(1, allocator.Stateless)
	must(t, j.Hold(e))
	_, _ = j.Isolate(j.Get(e.Attachment), because("it is another's"))
	j.Release(Release{Attachment: e.Attachment, At: 1})
	if free := j.Freed(); len(free) > 0 {
		t.Errorf("free is what another has: %+v", free)
	}
	must(t, j.Close())
	if free := open(t, path).Freed(); len(free) > 0 {
		t.Errorf("after a restart free is what another has: %+v", free)
	}
}
