// Package disk is the disk of a simulated machine's run directory: in memory, and it breaks when it is told to.
package disk

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-ipam/berth/internal/disk"
)

// A Disk is in memory. It is safe for concurrent use.
type Disk struct {
	// Before is called before each operation, with its name and file; its error is the operation's. It may end the calling
	// goroutine. Nil: nothing is called.
	Before func(op, file string) error

	mu    sync.Mutex
	full  bool
	next  uint64
	files map[string]*content
	dirs  map[string]bool
}

type content struct {
	id      uint64
	bytes   []byte
	changed time.Time
}

// New makes an empty disk.
func New() *Disk { return &Disk{files: map[string]*content{}, dirs: map[string]bool{"/": true}} }

// SetFull fills the disk, or makes room: a full one takes nothing that was not allocated before.
func (d *Disk) SetFull(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// Clear removes all files and directories. Who has one open keeps it.
func (d *Disk) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.files)
	clear(d.dirs)
	d.dirs["/"] = true
}

// Names are those of all files.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.files))
}

func (d *Disk) begin(op, file string) error {
	if d.Before != nil {
		if err := d.Before(op, file); err != nil {
			return &fs.PathError{Op: op, Path: file, Err: err}
		}
	}
	return nil
}

func failed(op, file string, err error) error { return &fs.PathError{Op: op, Path: file, Err: err} }

// MakeDir is disk.Disk's.
func (d *Disk) MakeDir(dir string, _ fs.FileMode) error {
	if err := d.begin("mkdir", dir); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for ; !d.dirs[dir]; dir = path.Dir(dir) {
		if d.full {
			return failed("mkdir", dir, syscall.ENOSPC)
		}
		d.dirs[dir] = true
	}
	return nil
}

// Open is disk.Disk's.
func (d *Disk) Open(file string) (disk.File, error) {
	if err := d.begin("open", file); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.files[file]
	if c == nil {
		return nil, failed("open", file, syscall.ENOENT)
	}
	return &open{d, file, c}, nil
}

// Create is disk.Disk's.
func (d *Disk) Create(file string) (disk.File, error) {
	if err := d.begin("create", file); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.files[file]
	switch {
	case !d.dirs[path.Dir(file)]:
		return nil, failed("create", file, syscall.ENOENT)
	case c == nil && d.full:
		return nil, failed("create", file, syscall.ENOSPC)
	case c == nil:
		d.next++
		c = &content{id: d.next}
		d.files[file] = c
	}
	c.bytes, c.changed = nil, time.Now()
	return &open{d, file, c}, nil
}

// Read is disk.Disk's.
func (d *Disk) Read(file string) ([]byte, error) {
	if err := d.begin("read", file); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.files[file]
	if c == nil {
		return nil, failed("read", file, syscall.ENOENT)
	}
	return slices.Clone(c.bytes), nil
}

// List is disk.Disk's.
func (d *Disk) List(dir string) (names []string, err error) {
	if err := d.begin("list", dir); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dirs[dir] {
		return nil, failed("list", dir, syscall.ENOENT)
	}
	for _, all := range [][]string{slices.Collect(maps.Keys(d.files)), slices.Collect(maps.Keys(d.dirs))} {
		for _, name := range all {
			if path.Dir(name) == dir && name != dir {
				names = append(names, path.Base(name))
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// Rename is disk.Disk's.
func (d *Disk) Rename(from, to string) error {
	if err := d.begin("rename", from); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.files[from]
	if c == nil || !d.dirs[path.Dir(to)] {
		return failed("rename", from, syscall.ENOENT)
	}
	delete(d.files, from)
	d.files[to] = c
	return nil
}

// Remove is disk.Disk's.
func (d *Disk) Remove(file string) error {
	if err := d.begin("remove", file); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.files[file] != nil:
		delete(d.files, file)
	case d.dirs[file] && d.below(file):
		return failed("remove", file, syscall.ENOTEMPTY)
	case d.dirs[file]:
		delete(d.dirs, file)
	default:
		return failed("remove", file, syscall.ENOENT)
	}
	return nil
}

// below reports whether a directory has something in it.
func (d *Disk) below(dir string) bool {
	for _, names := range [][]string{slices.Collect(maps.Keys(d.files)), slices.Collect(maps.Keys(d.dirs))} {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, dir+"/") }) {
			return true
		}
	}
	return false
}

// Stat is disk.Disk's.
func (d *Disk) Stat(file string) (disk.Info, error) {
	if err := d.begin("stat", file); err != nil {
		return disk.Info{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch c := d.files[file]; {
	case c != nil:
		return c.info(), nil
	case d.dirs[file]:
		return disk.Info{ID: disk.ID{Device: 2}}, nil
	}
	return disk.Info{}, failed("stat", file, syscall.ENOENT)
}

func (c *content) info() disk.Info {
	return disk.Info{ID: disk.ID{Device: 1, Inode: c.id}, Size: int64(len(c.bytes)), Changed: c.changed.UTC()}
}

// open is a file that is open.
type open struct {
	disk *Disk
	name string
	*content
}

func (f *open) Close() error { return nil }

func (f *open) Allocate(size int64) error {
	if err := f.disk.begin("allocate", f.name); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.grow("allocate", size)
}

// grow makes the file at least so long.
func (f *open) grow(op string, size int64) error {
	more := size - int64(len(f.bytes))
	switch {
	case more <= 0:
		return nil
	case f.disk.full:
		return failed(op, f.name, syscall.ENOSPC)
	}
	f.bytes = append(f.bytes, make([]byte, more)...)
	return nil
}

func (f *open) WriteAt(b []byte, at int64) (int, error) {
	if err := f.disk.begin("write", f.name); err != nil {
		return 0, err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.grow("write", at+int64(len(b))); err != nil {
		return 0, err
	}
	f.changed = time.Now()
	return copy(f.bytes[at:], b), nil
}

func (f *open) Stat() (disk.Info, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.info(), nil
}

// Put makes a file with some text, and the directories above it, by another process than the agent's.
func (d *Disk) Put(file string, text []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return failed("create", file, syscall.ENOSPC)
	}
	for dir := path.Dir(file); !d.dirs[dir]; dir = path.Dir(dir) {
		d.dirs[dir] = true
	}
	d.next++
	d.files[file] = &content{id: d.next, bytes: slices.Clone(text), changed: time.Now()}
	return nil
}
