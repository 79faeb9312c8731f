package journal

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/disk"
)

// A failing disk is the machine's, but for the changes that fails picks by their number: such a write leaves as much of its bytes
// as part says, and any other change is not made.
type failing struct {
	disk.Machine
	fails   func(n int) bool
	part    func(bytes int) int
	changes int
	failed  bool
}

func (d *failing) change() error {
	if d.changes++; d.fails(d.changes) {
		d.failed = true
		return unix.EIO
	}
	return nil
}

func (d *failing) Open(path string) (disk.File, error) {
	f, err := d.Machine.Open(path)
	return failingFile{f, d}, err
}

func (d *failing) Create(path string) (disk.File, error) {
	if err := d.change(); err != nil {
		return nil, err
	}
	f, err := d.Machine.Create(path)
	return failingFile{f, d}, err
}

func (d *failing) MakeDir(path string, mode fs.FileMode) error {
	if err := d.change(); err != nil {
		return err
	}
	return d.Machine.MakeDir(path, mode)
}

func (d *failing) Rename(from, to string) error {
	if err := d.change(); err != nil {
		return err
	}
	return d.Machine.Rename(from, to)
}

type failingFile struct {
	disk.File
	disk *failing
}

func (f failingFile) Allocate(size int64) error {
	if err := f.disk.change(); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f failingFile) WriteAt(data []byte, at int64) (int, error) {
	if err := f.disk.change(); err != nil {
		n, _ := f.File.WriteAt(data[:f.disk.part(len(data))], at)
		return n, err
	}
	return f.File.WriteAt(data, at)
}

// life is what a journal goes through on a disk. It returns the attachments that were acknowledged and not released since, and
// those whose Hold was refused.
func life(t *testing.T, j *Journal) (held, refused map[allocator.Attachment]bool) {
	t.Helper()
	held, refused = map[allocator.Attachment]bool{}, map[allocator.Attachment]bool{}
	hold := func(e *Entry) {
		err := j.Hold(e)
		held[e.Attachment], refused[e.Attachment] = err == nil, err != nil
		if is := j.Get(e.Attachment) != nil; is != (err == nil) {
			t.Errorf("%s: the answer was %v, and it is held: %t", e.Attachment, err, is)
		}
	}
	release := func(i int) {
		at := entry(i, "").Attachment
		j.Release(Release{Attachment: at, Began: 2, At: 2})
		delete(held, at)
	}
	for i := range 4 {
		hold(entry(i, []allocator.Class{allocator.Stateless, allocator.Stateful}[i%2]))
	}
	j.SetCluster(Cluster{ID: "one"})
	j.Adopt(entry(1, "").Attachment, 40)
	release(0)
	release(1)
	for _, d := range j.Pending() {
		j.Detached(d)
	}
	hold(longest(4, allocator.Stateful)) // a longer line than what may have been left of the one before
	hold(entry(5, allocator.Stateless))
	if err := j.rewrite(); err != nil {
		j.behind = err // as CatchUp keeps it
	}
	hold(entry(6, allocator.Stateless))
	release(2)
	return held, refused
}

// TestWhateverWriteFailsTheNextAgentFindsWhatWasAcknowledgedAndNothingThatWasRefused has each change of the disk fail in turn: alone
// or with all that follow it, with nothing or half of what was written left behind.
func TestWhateverWriteFailsTheNextAgentFindsWhatWasAcknowledgedAndNothingThatWasRefused(t *testing.T) {
	parts := map[string]func(int) int{
		"nothing is written": func(int) int { return 0 },
		"half is written":    func(bytes int) int { return bytes / 2 },
	}
	for what, part := range parts {
		for _, once := range []bool{true, false} {
			for n := 1; ; n++ {
				d := &failing{part: part, fails: func(at int) bool { return at == n || at > n && !once }}
				name := fmt.Sprintf("change %d fails, alone: %t, %s", n, once, what)
				failedOnce := true
				t.Run(name, func(t *testing.T) { failedOnce = lifeOn(t, d, once) })
				if !failedOnce {
					if n < 15 {
						t.Errorf("a life has only %d changes", n-1)
					}
					break
				}
			}
		}
	}
}

// lifeOn has a journal live on a disk that fails, and compares what the next agent reads. It reports whether the disk has failed.
func lifeOn(t *testing.T, d *failing, once bool) (failed bool) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := Open(d, path, mine, clock)
	if err != nil {
		if !d.failed {
			t.Fatal(err)
		}
		if n := len(open(t, path).Entries()); n > 0 { // nothing was acknowledged
			t.Errorf("%d entries", n)
		}
		return true
	}
	defer j.Close()
	held, refused := life(t, j)
	again := open(t, path) // not closed: as after kill -9
	for at, is := range held {
		if is && again.Get(at) == nil {
			t.Errorf("%s was acknowledged and is lost", at)
		}
	}
	for at, is := range refused {
		if is && again.Get(at) != nil {
			t.Errorf("%s was refused and is held", at)
		}
	}
	if left, err := filepath.Glob(path + ".*"); once && (err != nil || len(left) > 0) {
		t.Errorf("beside it are %q, %v", left, err)
	}
	if d.failed && !once {
		return true // what was only noted may be missing: the file is behind
	}
	if _, err := j.CatchUp(); err != nil {
		t.Errorf("on a disk that is well again it cannot catch up: %v", err)
	}
	same(t, j, open(t, path))
	return d.failed
}
