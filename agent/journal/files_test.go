package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/disk"
)

// A counted disk is the machine's, and counts what is open and what was asked of it.
type counted struct {
	disk.Machine
	open, creates, allocates int
	fails                    string // what of it fails
}

func (d *counted) Open(path string) (disk.File, error) { return d.opened(d.Machine.Open(path)) }

func (d *counted) Create(path string) (disk.File, error) {
	if d.creates++; d.fails == "create" {
		return nil, unix.EIO
	}
	return d.opened(d.Machine.Create(path))
}

func (d *counted) Read(path string) ([]byte, error) {
	if d.fails == "read" {
		return nil, unix.EIO
	}
	return d.Machine.Read(path)
}

func (d *counted) Stat(path string) (disk.Info, error) {
	if d.fails == "stat of the path" {
		return disk.Info{}, unix.EIO
	}
	return d.Machine.Stat(path)
}

func (d *counted) Rename(from, to string) error {
	if d.fails == "rename" {
		return unix.EIO
	}
	return d.Machine.Rename(from, to)
}

func (d *counted) opened(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	d.open++
	return &countedFile{f, d}, nil
}

type countedFile struct {
	disk.File
	disk *counted
}

func (f *countedFile) Close() error {
	f.disk.open--
	return f.File.Close()
}

func (f *countedFile) Allocate(size int64) error {
	f.disk.allocates++
	return f.File.Allocate(size)
}

func (f *countedFile) WriteAt(data []byte, at int64) (int, error) {
	if f.disk.fails == "write" {
		return 0, unix.EIO
	}
	return f.File.WriteAt(data, at)
}

func (f *countedFile) Stat() (disk.Info, error) {
	if f.disk.fails == "stat of the file" {
		return disk.Info{}, unix.EIO
	}
	return f.File.Stat()
}

func TestAJournalHasOneFileOpenAndNoneWhereItIsRefusedOrClosed(t *testing.T) {
	d := &counted{}
	path := filepath.Join(t.TempDir(), "journal")
	opens := func(what string, want int, header Header) *Journal {
		t.Helper()
		j, err := Open(d, path, header, clock)
		if (err == nil) != (want > 0) || d.open != want {
			t.Errorf("%s: %d files are open, error %v", what, d.open, err)
		}
		return j
	}
	closes := func(j *Journal) {
		t.Helper()
		if err := j.Close(); err != nil || d.open != 0 {
			t.Errorf("closed, it has %d files open, error %v", d.open, err)
		}
	}
	j := opens("new", 1, mine)
	must(t, j.Hold(entry(1, allocator.Stateless)))
	first := j.Bytes()
	must(t, j.Hold(entry(2, allocator.Stateless)))
	must(t, j.rewrite())
	d.fails = "rename"
	if err := j.rewrite(); !errors.Is(err, unix.EIO) || d.open != 1 {
		t.Errorf("after a rewrite that fails it has %d files open, error %v", d.open, err)
	}
	if _, err := os.Stat(path + ".new"); !disk.Gone(err) {
		t.Errorf("a rewrite that fails leaves a file behind: %v", err)
	}
	d.fails = ""
	closes(j)
	if err := j.Close(); err == nil {
		t.Error("what is closed already is said to be closed well")
	}
	d.open = 0
	closes(opens("again", 1, mine))
	opens("another node's", 0, Header{Node: "n2", Boot: "b1", ID: "j2"})
	for _, fails := range []string{"read", "write"} {
		d.fails = fails
		opens(fails+" fails", 0, mine)
	}
	d.fails = ""
	closes(opens("another boot's", 1, Header{Node: "n1", Boot: "b2", ID: "j3"}))
	j = open(t, path) // of another boot: it begins anew
	must(t, j.Hold(entry(1, allocator.Stateless)))
	must(t, j.Hold(entry(2, allocator.Stateless)))
	data, err := os.ReadFile(path)
	must(t, err)
	data[first-10] = '?'
	must(t, os.WriteFile(path, data, 0o600))
	opens("a damaged one", 0, mine)
}

func TestWhatHasRoomIsHeldWithoutAskingTheDiskForMore(t *testing.T) {
	d := &counted{}
	j, err := Open(d, filepath.Join(t.TempDir(), "journal"), mine, clock)
	must(t, err)
	defer j.Close()
	before := d.allocates
	for i := range 20 {
		must(t, j.Hold(entry(i, allocator.Stateful)))
	}
	if d.allocates != before {
		t.Errorf("20 small entries allocate %d times", d.allocates-before)
	}
}

func TestTheLastBytesOfADiskAreUsed(t *testing.T) {
	dir, _, _ := tmpfs(t, 3*chunk+chunk/2)
	j := open(t, filepath.Join(dir, "journal"))
	var err error
	for i := 0; err == nil; i++ {
		err = j.Hold(longest(i, allocator.Stateless))
	}
	if !errors.Is(err, ErrNoRoom) || j.file.size <= 3*chunk {
		t.Errorf("of %d bytes it has %d: %v", 3*chunk+chunk/2, j.file.size, err)
	}
	if err := j.Room(); !errors.Is(err, ErrNoRoom) {
		t.Errorf("room for one more: %v", err)
	}
}

func TestARewrittenFileHasRoomForAllEnds(t *testing.T) {
	dir, fill, _ := tmpfs(t, 8<<20)
	j := open(t, filepath.Join(dir, "journal"))
	for i := range 300 {
		must(t, j.Hold(longest(i, allocator.Stateful)))
	}
	must(t, j.rewrite())
	fill()
	for i := range 300 {
		j.Release(Release{Attachment: longest(i, "").Attachment, Began: 1 << 60, At: 1 << 60})
	}
	if err := j.Behind(); err != nil {
		t.Errorf("an end is not written: %v", err)
	}
	for _, pending := range j.Pending() {
		j.Detached(pending)
	}
	if err := j.Behind(); err != nil {
		t.Errorf("a publication is not written: %v", err)
	}
}

func TestThereIsRoomUntilTheFileIsBehind(t *testing.T) {
	d := &counted{}
	j, err := Open(d, filepath.Join(t.TempDir(), "journal"), mine, clock)
	must(t, err)
	defer j.Close()
	must(t, j.Room())
	d.fails = "write"
	j.SetCluster(Cluster{ID: "one"})
	if err := j.Room(); !errors.Is(err, unix.EIO) || !errors.Is(j.Behind(), unix.EIO) {
		t.Errorf("behind it says %v", err)
	}
}

func TestADiskThatCannotSayWhetherTheFileIsInItsPlaceChangesNothing(t *testing.T) {
	for _, fails := range []string{"stat of the path", "stat of the file"} {
		d := &counted{}
		j, err := Open(d, filepath.Join(t.TempDir(), "journal"), mine, clock)
		must(t, err)
		d.fails = fails
		creates := d.creates
		must(t, j.Hold(entry(1, allocator.Stateless)))
		if wrong, err := j.CatchUp(); wrong != nil || err != nil || d.creates != creates {
			t.Errorf("%s fails: it catches up from %v, error %v, by %d new files", fails, wrong, err, d.creates-creates)
		}
		must(t, j.Close())
	}
}

func TestARewriteThatFailsIsNotTriedAtEachWrite(t *testing.T) {
	d := &counted{}
	j, err := Open(d, filepath.Join(t.TempDir(), "journal"), mine, clock)
	must(t, err)
	defer j.Close()
	d.fails = "create"
	creates := d.creates
	change := func() { must(t, j.Hold(longest(1, allocator.Stateful))) }
	for j.Bytes() < 3*rewriteAt {
		change()
	}
	if n := d.creates - creates; n < 1 || n > 3 {
		t.Errorf("in %d bytes it was tried %d times", j.Bytes(), n)
	}
	d.fails = ""
	for range 2000 {
		change()
	}
	if j.Bytes() > 2*rewriteAt {
		t.Errorf("on a disk that is well again it has %d bytes", j.Bytes())
	}
	same(t, j, open(t, j.Path()))
}

func TestTheClusterThatANodeJoinedIsReadBackAlsoFromARewrittenFile(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	joined := Cluster{ID: "one", Life: 2, Generation: 7, Slept: 9}
	j.SetCluster(joined)
	for range 2 {
		if again := open(t, j.Path()); again.Cluster() != joined || j.Cluster() != joined {
			t.Errorf("it is %+v, and read back %+v", j.Cluster(), again.Cluster())
		}
		must(t, j.rewrite())
	}
}

func TestWhatChangesNothingIsNotWritten(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	e := entry(1, allocator.Stateful)
	must(t, j.Hold(e))
	same := func(what string, do func()) {
		t.Helper()
		before := j.Bytes()
		if do(); j.Bytes() != before {
			t.Errorf("%s is written", what)
		}
	}
	same("the epoch that it has", func() { j.Adopt(e.Attachment, e.Epoch) })
	same("the epoch of what is not held", func() { j.Adopt(entry(2, "").Attachment, 9) })
	same("the end of an isolation that is none", func() { j.Lift(e.Attachment) })
	same("the end of an isolation of what is not held", func() { j.Lift(entry(2, "").Attachment) })
	same("what is forgotten and was not free", func() { j.Forget([]Freed{{Pool: e.Pool, Address: e.Addresses[0]}}) })
	j.Isolate(j.Get(e.Attachment), Isolation{Reason: "first", Epoch: 5})
	same("an isolation by the same epoch", func() { j.Isolate(j.Get(e.Attachment), Isolation{Reason: "again", Epoch: 5}) })
	same("an isolation by an earlier epoch", func() { j.Isolate(j.Get(e.Attachment), Isolation{Reason: "again", Epoch: 4}) })
	if now, noted := j.Isolate(j.Get(e.Attachment), Isolation{Reason: strings.Repeat("ä", maxReason), Epoch: 6}); !noted ||
		now.Isolated.Epoch != 6 || len(now.Isolated.Reason) > maxReason || !strings.HasSuffix(now.Isolated.Reason, "ä...") {
		t.Errorf("a later one is %+v", now.Isolated)
	}
	if read := open(t, j.Path()).Get(e.Attachment); !strings.HasSuffix(read.IsolatedWhy(), "ä...") || entry(3, "").IsolatedWhy() != "" {
		t.Errorf("read back it is isolated since %q", read.IsolatedWhy())
	}
}
