// Package disk is what the agent uses of a file system, as an interface: a run of many nodes in one process, or a test of a disk
// that fails, gives its own. It is not how a whole directory is locked for one process: see package exclusive.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Disk has files. Its errors are as package os's: see Gone.
type Disk interface {
	MakeDir(path string, mode fs.FileMode) error // with those above it
	Open(path string) (File, error)
	Create(path string) (File, error) // empty, for its owner alone
	Read(path string) ([]byte, error)
	List(dir string) (names []string, err error) // sorted
	Rename(from, to string) error
	Remove(path string) error
	Stat(path string) (Info, error)
}

// A File is open for reading and writing.
type File interface {
	io.WriterAt
	io.Closer
	Allocate(size int64) error // what is not written yet reads as zeros
	Stat() (Info, error)
}

// An ID tells a file from every other one of its time.
type ID struct{ Device, Inode uint64 }

// An Info is what a disk says of a file.
type Info struct {
	ID
	Size    int64
	Changed time.Time
}

// Gone reports whether an error says that there is no such file. Any other error does not.
func Gone(err error) bool { return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) }

// Machine is the machine's own file systems.
type Machine struct{}

// MakeDir is os.MkdirAll.
func (Machine) MakeDir(path string, mode fs.FileMode) error { return os.MkdirAll(path, mode) }

// Open is os.OpenFile.
func (Machine) Open(path string) (File, error) { return file(path, os.O_RDWR) }

// Create is os.Create.
func (Machine) Create(path string) (File, error) { return file(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC) }

// Read is os.ReadFile.
func (Machine) Read(path string) ([]byte, error) { return os.ReadFile(path) }

// List is os.ReadDir.
func (Machine) List(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Rename is os.Rename.
func (Machine) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is os.Remove.
func (Machine) Remove(path string) error { return os.Remove(path) }

// Stat is stat(2).
func (Machine) Stat(path string) (Info, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return info(&s), nil
}

type osFile struct{ *os.File }

func file(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Allocate(size int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }

func (f osFile) Stat() (Info, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return info(&s), nil
}

func info(s *unix.Stat_t) Info {
	return Info{ID{s.Dev, s.Ino}, s.Size, time.Unix(s.Mtim.Unix()).UTC()}
}
