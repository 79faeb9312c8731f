package journal

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
)

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Println("skipped:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tmpfs is a directory of so many bytes, and fill takes up what is left of it, free gives it back.
func tmpfs(t *testing.T, bytes int) (dir string, fill, free func()) {
	t.Helper()
	dir = t.TempDir()
	must(t, unix.Mount("disk", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	filling := filepath.Join(dir, "filling")
	fill = func() {
		t.Helper()
		f, err := os.Create(filling)
		must(t, err)
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
	return dir, fill, func() { must(t, os.Remove(filling)) }
}

// longest is an entry whose names are as long as names may be.
func longest(i int, class allocator.Class) *Entry {
	name := func(what string) string { return what + strings.Repeat("x", 253-len(what)) }
	e := entry(i, class)
	e.Attachment = allocator.Attachment{Network: name("net"), Container: name(fmt.Sprint("c", i, "-")), Interface: strings.Repeat("<", 15)}
	e.App, e.Member, e.Pool = allocator.App{Namespace: name("ns"), Name: name("app")}, name(fmt.Sprint("m", i, "-")), name("pool")
	e.Addresses = append(e.Addresses, netip.MustParseAddr(fmt.Sprintf("fd00::ffff:ffff:ffff:%x", 0xf000+i)))
	return e
}

func TestOnAFullDiskNothingNewIsHeldAndAllElseIsWritten(t *testing.T) {
	for _, class := range []allocator.Class{allocator.Stateless, allocator.Stateful} {
		dir, fill, free := tmpfs(t, 4<<20)
		path := filepath.Join(dir, "journal")
		j := open(t, path)
		var held []*Entry
		for i := range 300 {
			held = append(held, longest(i, class))
			must(t, j.Hold(held[i]))
		}
		fill()
		var err error
		for i := 300; err == nil; i++ { // the file has a little room ahead of need
			if err = j.Hold(longest(i, class)); err == nil {
				held = append(held, longest(i, class))
			}
		}
		if !errors.Is(err, ErrNoRoom) {
			t.Fatalf("%s: one more is refused with %v", class, err)
		}
		steps := map[string]func(*Entry){
			"adopted": func(e *Entry) {
				if class == allocator.Stateful {
					j.Adopt(e.Attachment, e.Epoch+7)
				}
			},
			"isolated": func(e *Entry) { j.Isolate(j.Get(e.Attachment), because(strings.Repeat("why", 200))) },
			"lifted":   func(e *Entry) { j.Lift(e.Attachment) },
			"released": func(e *Entry) {
				j.Release(Release{Attachment: e.Attachment, Began: 1 << 60, At: 1 << 60, Quarantine: 1 << 60})
			},
		}
		for _, step := range []string{"adopted", "isolated", "lifted", "released"} {
			for _, e := range held {
				steps[step](e)
			}
			if err := j.Behind(); err != nil {
				t.Errorf("%s: %s is not written: %v", class, step, err)
			}
			same(t, j, open(t, path))
		}
		for _, d := range j.Pending() {
			j.Detached(d)
		}
		if err := j.Behind(); err != nil || len(j.Pending()) > 0 {
			t.Errorf("%s: %d are pending, behind: %v", class, len(j.Pending()), err)
		}
		same(t, j, open(t, path))
		free()
		must(t, j.Hold(longest(0, class)))
	}
}

func because(reason string) Isolation {
	return Isolation{Reason: reason, Epoch: Never}
}

func TestAFileThatIsBehindIsNotBuiltUponAndCatchesUp(t *testing.T) {
	dir, fill, free := tmpfs(t, 1<<20)
	path := filepath.Join(dir, "journal")
	j := open(t, path)
	must(t, j.Hold(entry(1, allocator.Stateful)))
	fill()
	var n int
	for n = 2; j.Behind() == nil; n++ {
		j.Keep(longest(n, allocator.Stateful))
	}
	j.SetCluster(Cluster{ID: "one"})
	j.Isolate(j.Get(entry(1, "").Attachment), because("it is another's"))
	j.Release(Release{Attachment: longest(2, "").Attachment, At: 1})
	if err := j.Hold(entry(0, allocator.Stateless)); !errors.Is(err, ErrNoRoom) || j.Get(entry(0, "").Attachment) != nil {
		t.Errorf("something new is held while the file is behind: %v", err)
	}
	if err := j.SetLostJournal(); err == nil {
		t.Error("that another journal served this boot is said to be written")
	}
	again := open(t, path)
	if again.Cluster() != (Cluster{}) || again.Get(longest(2, "").Attachment) != nil {
		t.Errorf("the file knows cluster %v without what came before, or holds what is released", again.Cluster())
	}
	if len(j.Entries()) != n-2 || j.Isolated() != 1 {
		t.Errorf("%d entries, %d isolated are known: want %d and 1", len(j.Entries()), j.Isolated(), n-2)
	}
	if wrong, err := j.CatchUp(); wrong == nil || err == nil {
		t.Errorf("on a full disk it catches up from %v, with error %v", wrong, err)
	}
	free()
	if wrong, err := j.CatchUp(); wrong == nil || err != nil || j.Behind() != nil {
		t.Errorf("it catches up from %v, with error %v", wrong, err)
	}
	same(t, j, open(t, path))
	must(t, j.Hold(entry(0, allocator.Stateless)))
}

func TestAJournalThatSomebodyRemovedIsWrittenAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "journal")
	j := open(t, path)
	must(t, j.Hold(entry(1, allocator.Stateful)))
	if wrong, err := j.CatchUp(); wrong != nil || err != nil {
		t.Errorf("it catches up from %v, with error %v, while the file is there", wrong, err)
	}
	for what, remove := range map[string]func(){
		"the directory": func() { must(t, os.RemoveAll(dir)) },
		"the file":      func() { must(t, os.Remove(path)) },
		"its place": func() {
			must(t, os.WriteFile(path+".other", nil, 0o600))
			must(t, os.Rename(path+".other", path))
		},
	} {
		remove()
		must(t, j.Hold(entry(2, allocator.Stateless))) // what is held is where the next agent looks for it
		same(t, j, open(t, path))
		remove()
		if wrong, err := j.CatchUp(); wrong == nil || err != nil {
			t.Errorf("%s: it catches up from %v, with error %v", what, wrong, err)
		}
		same(t, j, open(t, path))
	}
}

func TestWhatIsNotedOfAnEntryIsReadBackAlsoFromARewrittenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	a, b := entry(1, allocator.Stateful), entry(2, allocator.Stateful)
	must(t, j.Hold(a))
	must(t, j.Hold(b))
	j.Adopt(a.Attachment, 40)
	if _, first := j.Isolate(j.Get(b.Attachment), because("it is another's")); !first {
		t.Error("it was isolated already")
	}
	for range 2 {
		again := open(t, path)
		same(t, j, again)
		if again.Get(a.Attachment).Epoch != 40 || again.Isolation(b.Attachment) == nil || again.Isolated() != 1 {
			t.Errorf("read back: epoch %d, %d isolated", again.Get(a.Attachment).Epoch, again.Isolated())
		}
		must(t, j.rewrite())
	}
	j.Lift(b.Attachment)
	if again := open(t, path); again.Isolated() != 0 || j.Isolated() != 0 {
		t.Error("what is lifted is isolated")
	}
}

func TestOnlyANewLifeWithALaterEpochEndsAnIsolation(t *testing.T) {
	for _, test := range []struct {
		what          string
		began         allocator.Instant
		epoch, lost   int64
		wantEpoch     int64
		wantsIsolated bool
	}{
		{"a change of the same life", 5, 9, 7, 6, true},
		{"a change of the same life, which has got a later epoch since", 5, 9, 3, 6, true},
		{"a new life by a later epoch", 6, 9, 7, 9, false},
		{"a new life by an earlier epoch", 6, 6, 7, 6, true},
		{"a new life, of an address that is lost otherwise", 6, 9, Never, 9, true},
	} {
		j := open(t, filepath.Join(t.TempDir(), "journal"))
		e := entry(1, allocator.Stateful)
		e.Began, e.Epoch = 5, 5
		must(t, j.Hold(e))
		j.Adopt(e.Attachment, 6)
		j.Isolate(j.Get(e.Attachment), Isolation{Reason: "lost", Epoch: test.lost})
		next := *e
		next.Began, next.Epoch = test.began, test.epoch
		must(t, j.Change(&next))
		if now := j.Get(e.Attachment); now.Epoch != test.wantEpoch || (now.Isolated != nil) != test.wantsIsolated {
			t.Errorf("%s: epoch %d, isolated %v", test.what, now.Epoch, now.Isolated)
		}
	}
}

func TestTheEndOfOneAttachmentLeavesTheAddressToWhoeverHasItByNow(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	former, next := entry(1, allocator.Stateless), entry(2, allocator.Stateless)
	next.Addresses = former.Addresses
	must(t, j.Hold(former))
	must(t, j.Hold(next))
	j.Release(Release{Attachment: former.Attachment, At: 1})
	if e := j.Holder("default", next.Addresses[0]); e == nil || e.Attachment != next.Attachment || len(j.Freed()) != 0 {
		t.Errorf("%v holds the address, and %v is free", e, j.Freed())
	}
}

func TestAnIsolationThatWasFoundForAFormerEntryChangesNothing(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	e := entry(1, allocator.Stateful)
	must(t, j.Hold(e))
	former := j.Get(e.Attachment)
	j.Adopt(e.Attachment, 40)
	now, noted := j.Isolate(former, because("it is another's"))
	if noted || now != j.Get(e.Attachment) || j.Isolation(e.Attachment) != nil {
		t.Errorf("noted: %v, and the entry is %+v", noted, now)
	}
	if _, noted = j.Isolate(now, because("it is another's")); !noted || j.Isolation(e.Attachment) == nil {
		t.Error("the present entry is not isolated")
	}
}

func TestAnAddressThatWasFreedAgainIsNotForgottenForItsFormerRelease(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	e := entry(1, allocator.Stateless)
	free := func(at allocator.Instant) []Freed {
		again := *e
		again.Began = at
		must(t, j.Hold(&again))
		j.Release(Release{Attachment: e.Attachment, Began: at, At: at})
		return j.Freed()
	}
	former := free(1 << 40)
	now := free(1 << 41)
	if j.Forget(former); !slices.Equal(j.Freed(), now) || len(now) != 1 {
		t.Errorf("freed are %v, want %v", j.Freed(), now)
	}
	if j.Forget(now); len(j.Freed()) != 0 {
		t.Errorf("freed are %v, which were forgotten", j.Freed())
	}
}
