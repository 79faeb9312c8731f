package journal

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/disk"
)

var mine = Header{Node: "n1", Boot: "b1", ID: "j1"}

func clock() allocator.Instant { return time.Hour }

func open(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := Open(disk.Machine{}, path, mine, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func entry(i int, class allocator.Class) *Entry {
	return &Entry{
		Attachment: allocator.Attachment{Network: "net", Container: fmt.Sprint("c", i), Interface: "eth0"},
		Class:      class, App: allocator.App{Namespace: "ns", Name: "web"}, Member: fmt.Sprint(i), Pool: "default",
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)})}, Epoch: int64(i), Answered: 1,
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same compares by what a reader of the journal sees.
func same(t *testing.T, a, b *Journal) {
	t.Helper()
	index := func(j *Journal) map[allocator.Attachment]Entry {
		m := map[allocator.Attachment]Entry{}
		for _, e := range j.Entries() {
			m[e.Attachment] = *e
		}
		return m
	}
	if x, y := index(a), index(b); !reflect.DeepEqual(x, y) {
		t.Errorf("entries differ: %.2000v, read back %.2000v", x, y)
	}
	if x, y := a.Freed(), b.Freed(); !reflect.DeepEqual(x, y) {
		t.Errorf("freed differ: %v, read back %v", x, y)
	}
	if x, y := a.Quarantined(), b.Quarantined(); !reflect.DeepEqual(x, y) || a.LostJournal() != b.LostJournal() {
		t.Errorf("in quarantine is %v, and read back %v; the journal is lost: %v and %v", x, y, a.LostJournal(), b.LostJournal())
	}
	if x, y := len(a.Pending()), len(b.Pending()); x != y {
		t.Errorf("%d pending detachments, read back %d", x, y)
	}
}

func TestWhatWasWrittenIsReadBackAfterAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	random := rand.New(rand.NewPCG(1, 2))
	at := allocator.Instant(0)
	for range 3000 {
		at++
		e := entry(random.IntN(200), []allocator.Class{allocator.Stateless, allocator.Stateful}[random.IntN(2)])
		switch random.IntN(16) {
		case 0, 1, 2, 3, 4, 5, 6, 7:
			must(t, j.Hold(e))
		case 15:
			for _, d := range j.Pending() {
				j.Detached(d)
				break
			}
		default:
			j.Release(Release{Attachment: e.Attachment, At: at})
		}
	}
	if len(j.Entries()) == 0 || len(j.Freed()) == 0 || len(j.Pending()) == 0 {
		t.Fatal("the run left nothing to compare")
	}
	same(t, j, open(t, path)) // not closed: as after kill -9
}

func TestAWriteThatACrashCutShortIsAsIfItNeverWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	must(t, j.Hold(entry(1, allocator.Stateless)))
	before := j.Bytes()
	must(t, j.Hold(entry(2, allocator.Stateless)))
	whole, err := os.ReadFile(path)
	must(t, err)
	for end := before; end < j.Bytes(); end++ {
		for what, file := range map[string][]byte{
			"the file ends":  whole[:end],
			"zeros follow":   append(slices.Clone(whole[:end]), make([]byte, 100)...),
			"a line follows": append(append(slices.Clone(whole[:end]), "?\n"...), make([]byte, 100)...),
		} {
			must(t, os.WriteFile(path, file, 0o600))
			again := open(t, path)
			if n := len(again.Entries()); n != 1 || again.Bytes() != before {
				t.Fatalf("cut after %d bytes, %s: %d entries in %d bytes, want 1 in %d", end, what, n, again.Bytes(), before)
			}
			again.Release(Release{Attachment: entry(3, "").Attachment})
			same(t, again, open(t, path))
		}
	}
}

func TestDamageInTheMiddleIsRefusedWithWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	must(t, j.Hold(entry(1, allocator.Stateless)))
	first := j.Bytes()
	must(t, j.Hold(entry(2, allocator.Stateless)))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("?"), first-10)
	must(t, err)
	if _, err := Open(disk.Machine{}, path, mine, clock); err == nil {
		t.Error("a damaged journal was read as if it were whole")
	}
}

func TestAJournalOfAnotherNodeIsRefusedAndOneOfAnotherBootBeginsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	must(t, open(t, path).Hold(entry(1, allocator.Stateless)))
	if _, err := Open(disk.Machine{}, path, Header{Node: "n2", Boot: "b1", ID: "j2"}, clock); err == nil {
		t.Error("the journal of n1 was opened by n2")
	}
	j, err := Open(disk.Machine{}, path, Header{Node: "n1", Boot: "b2", ID: "j2"}, clock)
	must(t, err)
	defer j.Close()
	if len(j.Entries()) != 0 || j.ID() != "j2" {
		t.Errorf("%d entries, id %s: want a new one", len(j.Entries()), j.ID())
	}
}

func TestTheFileStaysInProportionToWhatIsHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	for i := range 20_000 {
		e := entry(i%10, allocator.Stateless)
		must(t, j.Hold(e))
		j.Release(Release{Attachment: e.Attachment, At: clock()})
	}
	if j.Bytes() > 2*rewriteAt {
		t.Errorf("%d bytes for nothing held: want at most %d", j.Bytes(), 2*rewriteAt)
	}
	same(t, j, open(t, path))
}

func TestTheMemoryOfReleasesIsBoundedAndStillRefusesAnOlderADD(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	const many = 5 * maxReleases
	for i := range allocator.Instant(many) {
		began := 100 + 2*i
		j.Release(Release{Attachment: entry(int(i), allocator.Stateless).Attachment, Began: began, At: began})
	}
	if n := len(j.state.releases); n > maxReleases {
		t.Errorf("%d releases are kept: want at most %d", n, maxReleases)
	}
	must(t, j.rewrite())
	again := open(t, path)
	for i := range allocator.Instant(many) {
		at := entry(int(i), allocator.Stateless).Attachment
		if !j.Overtaken(at, 100+2*i-1) || !again.Overtaken(at, 100+2*i-1) {
			t.Fatalf("an ADD older than release %d of %d is not refused", i, many)
		}
	}
	last := entry(many-1, allocator.Stateless).Attachment
	if j.Overtaken(last, 100+2*many) || again.Overtaken(last, 100+2*many) || again.Overtaken(entry(-1, "").Attachment, 100+2*many) {
		t.Error("an ADD younger than every release is refused")
	}
}

func TestAReleaseOfLongAgoIsForgotten(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	j.Release(Release{Attachment: entry(1, "").Attachment, Began: 5, At: clock() - remember - 1})
	j.Release(Release{Attachment: entry(2, "").Attachment, Began: 7, At: clock() - remember})
	must(t, j.rewrite())
	if n := len(j.state.releases); n != 1 {
		t.Errorf("%d releases are kept: want 1", n)
	}
	if !j.Overtaken(entry(1, "").Attachment, 4) || j.Overtaken(entry(1, "").Attachment, 6) || !j.Overtaken(entry(2, "").Attachment, 6) {
		t.Error("what is forgotten refuses too much, or too little")
	}
}

func BenchmarkHoldAndRelease(b *testing.B) {
	j, err := Open(disk.Machine{}, filepath.Join(b.TempDir(), "journal"), mine, clock)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		e := entry(i%100, allocator.Stateless)
		if err := j.Hold(e); err != nil {
			b.Fatal(err)
		}
		j.Release(Release{Attachment: e.Attachment, At: clock()})
	}
}
