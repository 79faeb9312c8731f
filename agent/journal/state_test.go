package journal

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// wired is an entry with a port, in a namespace.
func wired(i, namespace int, port string) *Entry {
	e := entry(i, allocator.Stateless)
	e.NamespaceID, e.Wiring.Port = namespace, port
	return e
}

func TestAPortAndANamespaceTellWhoseTheyAreWhileItIsHeld(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	of := func(what, port string, namespace int, want ...*Entry) {
		t.Helper()
		got := j.InNamespace(namespace - 1)
		slices.SortFunc(got, func(a, b *Entry) int { return a.Addresses[0].Compare(b.Addresses[0]) })
		if !slices.Equal(got, want) {
			t.Errorf("%s: in namespace %d are %v", what, namespace, got)
		}
		if port == "" {
			return
		}
		if e := j.OfPort(port); len(want) > 0 && e != want[0] || len(want) == 0 && e != nil {
			t.Errorf("%s: port %s is of %v", what, port, e)
		}
	}
	a, b, none := wired(1, 7, "p1"), wired(2, 7, "p2"), wired(3, 0, "")
	for _, e := range []*Entry{a, b, none} {
		must(t, j.Hold(e))
	}
	of("two in one", "p1", 7, a, b)
	of("none", "", 0)
	if e := j.OfPort(""); e != nil {
		t.Errorf("no port is of %v", e)
	}
	moved := wired(1, 9, "p9")
	must(t, j.Hold(moved))
	of("one has moved", "p9", 9, moved)
	of("one has moved", "p2", 7, b)
	taken := wired(4, 9, "p9") // another has its port by now
	must(t, j.Hold(taken))
	j.Release(Release{Attachment: moved.Attachment, At: 1})
	of("the other is left", "p9", 9, taken)
	for _, e := range []*Entry{b, none, taken} {
		j.Release(Release{Attachment: e.Attachment, At: 1})
	}
	of("none is left", "p9", 9)
	of("none is left", "p2", 7)
	if n := len(j.state.spaces) + len(j.state.ports) + len(j.state.live); n != 0 {
		t.Errorf("%d things are kept of what is gone", n)
	}
}

func TestTheRoomThatIsKeptIsOfWhatIsHeldAndPending(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	keeps := func(what string, some bool) {
		t.Helper()
		if (j.state.ending != 0) != some || !some && j.state.noting != 0 {
			t.Errorf("%s: room is kept for %d bytes of ends and %d of notes", what, j.state.ending, j.state.noting)
		}
	}
	keeps("nothing held", false)
	e := entry(1, allocator.Stateful)
	must(t, j.Hold(e))
	once := j.state.ending
	must(t, j.Hold(e))
	if j.state.ending != once {
		t.Errorf("held twice it keeps %d bytes, once %d", j.state.ending, once)
	}
	j.Release(Release{Attachment: e.Attachment, At: 1})
	keeps("its detachment is pending", true)
	pending := j.Pending()[0]
	must(t, j.Hold(e))
	j.Release(Release{Attachment: e.Attachment, At: 2}) // the same address again, before the first is published
	if len(j.Pending()) != 1 {
		t.Errorf("pending are %v", j.Pending())
	}
	j.Detached(pending)
	keeps("published", false)
	j.Detached(pending)
	keeps("published again", false)
	must(t, j.Hold(entry(2, allocator.Stateless)))
	j.Release(Release{Attachment: entry(2, "").Attachment, At: 3})
	keeps("a stateless one was released", false)
}

func TestADetachmentOfAnEarlierEpochPublishesNoLaterOne(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	for _, epoch := range []int64{3, 4} {
		e := entry(1, allocator.Stateful)
		e.Epoch = epoch
		must(t, j.Hold(e))
		j.Release(Release{Attachment: e.Attachment, At: 1})
	}
	now := j.Pending()[0]
	former := now
	former.Epoch = 3
	if j.Detached(former); len(j.Pending()) != 1 {
		t.Error("the former one's publication ends it")
	}
	if j.Detached(now); len(j.Pending()) != 0 {
		t.Error("its own publication does not end it")
	}
	other := entry(2, allocator.Stateful)
	must(t, j.Hold(other))
	must(t, j.Hold(entry(3, allocator.Stateful)))
	j.Release(Release{Attachment: other.Attachment, At: 1})
	j.Release(Release{Attachment: entry(3, "").Attachment, At: 1})
	if len(j.Pending()) != 2 {
		t.Errorf("of two members pending are %v", j.Pending())
	}
}

func TestAReleaseSaysWhatBecomesOfTheReservation(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	for i, answered := range []allocator.Instant{0, 1} {
		for k, giveUp := range []bool{false, true} {
			e := entry(2*i+k, allocator.Stateful)
			e.Answered = answered
			must(t, j.Hold(e))
			j.Release(Release{Attachment: e.Attachment, At: 1, GiveUp: giveUp})
			for _, journal := range []*Journal{j, open(t, j.Path())} {
				pending := journal.Pending()
				at := slices.IndexFunc(pending, func(d Detachment) bool { return d.Attachment == e.Attachment })
				if d := pending[at]; d.Unanswered != (answered == 0) || d.GiveUp != giveUp || d.Epoch != e.Epoch || d.Identity != e.Identity() {
					t.Errorf("answered at %d, given up %t, pending is %+v", answered, giveUp, d)
				}
			}
		}
	}
}

func TestTheLaterReleaseOvertakesAlsoIfTheEarlierIsToldLast(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	at := entry(1, "").Attachment
	j.Release(Release{Attachment: at, Began: 9, At: 9})
	j.Release(Release{Attachment: at, Began: 5, At: 10})
	if !j.Overtaken(at, 8) || j.Overtaken(at, 9) || j.Overtaken(entry(2, "").Attachment, 1) {
		t.Error("the earlier release counts")
	}
}

func TestAsManyReleasesAsMayBeKeptAreKept(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	for i := range allocator.Instant(maxReleases) {
		j.Release(Release{Attachment: entry(int(i), "").Attachment, Began: 100 + i, At: 100 + i})
	}
	if n := len(j.state.releases); n != maxReleases || j.Overtaken(entry(-1, "").Attachment, 1) {
		t.Errorf("%d are kept, and another container's ADD is refused: %t", n, j.Overtaken(entry(-1, "").Attachment, 1))
	}
	j.Release(Release{Attachment: entry(-2, "").Attachment, Began: 1 << 20, At: 1 << 20})
	if n := len(j.state.releases); n > maxReleases || n < maxReleases/2 {
		t.Errorf("of one too many %d are kept", n)
	}
	if at := entry(maxReleases-1, "").Attachment; !j.Overtaken(at, 100+maxReleases-2) || j.Overtaken(at, 100+maxReleases) {
		t.Error("the latest were dropped")
	}
}

func TestARewrittenFileHasOnlyWhatThereIs(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	must(t, j.rewrite())
	if n := len(j.state.records()); n != 1 {
		t.Errorf("of nothing there are %d records: %+v", n, j.state.records())
	}
}

func TestWhatIsHeldAgainIsNotFree(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	e := entry(1, allocator.Stateless)
	must(t, j.Hold(e))
	j.Release(Release{Attachment: e.Attachment, At: 1, Quarantine: time.Second})
	if free := j.Freed(); len(free) != 1 || free[0].Quarantine != time.Second || free[0].App != e.App {
		t.Errorf("free are %+v", free)
	}
	must(t, j.Hold(e))
	if free := j.Freed(); len(free) != 0 {
		t.Errorf("it is held, and free are %+v", free)
	}
}

func TestOfTwoThatHaveAnAddressTheHolderIsWhoMayPass(t *testing.T) {
	for name, tc := range map[string]struct {
		isolated [2]bool
		epochs   [2]int64
		holder   int
	}{
		"the first is isolated":           {[2]bool{true, false}, [2]int64{2, 2}, 1},
		"the second is isolated":          {[2]bool{false, true}, [2]int64{2, 2}, 0},
		"the first has the later epoch":   {[2]bool{}, [2]int64{3, 2}, 0},
		"the second has the later epoch":  {[2]bool{}, [2]int64{2, 3}, 1},
		"both are isolated: who came":     {[2]bool{true, true}, [2]int64{3, 2}, 1},
		"isolated in spite of its epoch":  {[2]bool{true, false}, [2]int64{3, 2}, 1},
		"of one epoch: who came the last": {[2]bool{}, [2]int64{2, 2}, 1},
	} {
		j := open(t, filepath.Join(t.TempDir(), "journal"))
		var both [2]*Entry
		for i := range both {
			both[i] = entry(i, allocator.Stateful)
			both[i].Addresses, both[i].Epoch = []netip.Addr{netip.MustParseAddr("10.42.0.9")}, tc.epochs[i]
			if tc.isolated[i] {
				both[i].Isolated = &Isolation{Reason: "lost", Epoch: Never}
			}
			must(t, j.Hold(both[i]))
		}
		if got := j.Holder("default", both[0].Addresses[0]); got != both[tc.holder] {
			t.Errorf("%s: the holder is %s", name, got.Attachment)
		}
		if n := j.Isolated(); n != len(slices.DeleteFunc(tc.isolated[:], func(is bool) bool { return !is })) {
			t.Errorf("%s: %d are isolated", name, n)
		}
	}
}

func TestAFullFileTakesNotesOnlyOfWhatIsHeld(t *testing.T) {
	for r, want := range map[*record]kind{
		{Hold: entry(9, "")}: grows, {Release: &Release{Attachment: entry(9, "").Attachment}}: grows,
		{Release: &Release{Attachment: entry(1, "").Attachment}}: ends, {Detached: &Detachment{}}: ends, {Epoch: &Epoch{}}: notes,
		{Lost: []Part{{}}}:    notes,
		{Isolate: &Isolate{}}: notes, {Cluster: &Cluster{}}: notes, {LostJournal: true}: notes, {Quarantined: &[]Quarantined{}}: grows,
	} {
		j := open(t, filepath.Join(t.TempDir(), "journal"))
		must(t, j.Hold(entry(1, allocator.Stateless)))
		if got := j.state.kindOf(r); got != want {
			t.Errorf("%s uses room %d, want %d", fmt.Sprintf("%+v", *r), got, want)
		}
	}
}
