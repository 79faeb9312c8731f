// Package exclusive gives a directory to one process at a time, by a lock that the kernel releases when the process ends. Only
// root or the process's own user can interfere: the whole path to the lock is checked first.
package exclusive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A HeldError says that another process has the directory.
type HeldError struct {
	Dir string
	By  string // that process's description of itself; empty: none
}

func (e *HeldError) Error() string {
	by := e.By
	if by == "" {
		by = "another process"
	}
	return fmt.Sprintf("%s is in use by %s", e.Dir, by)
}

// File is the lock's name in the directory.
const File = "lock"

// maxWords bounds what is read of a holder's description.
const maxWords = 512

// Lock locks dir, which it makes if it is missing, for this process until the lock is closed. self describes the process to the
// next that tries, which gets a *HeldError.
func Lock(dir, self string) (io.Closer, error) {
	err := trusted(dir)
	if errors.Is(err, os.ErrNotExist) { // the existing part of the path is trusted
		if err = os.MkdirAll(dir, 0o700); err == nil {
			err = trusted(dir)
		}
	}
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, File)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			err = fmt.Errorf("%s is a symbolic link: remove it", path)
		}
		return nil, err
	}
	if err := lock(f, dir, self); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func lock(f *os.File, dir, self string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file: remove it", f.Name())
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		by, _ := io.ReadAll(io.LimitReader(f, maxWords)) // without it the error says less
		return &HeldError{Dir: dir, By: strings.TrimSpace(string(by))}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	// A full disk does not prevent the lock; only the description is lost.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(self+"\n"), 0)
	}
	return nil
}

// Held reports whether a process has locked dir, and its description of itself.
func Held(dir string) (by string, held bool) {
	f, err := os.OpenFile(filepath.Join(dir, File), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	if !errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK) {
		return "", false
	}
	words, _ := io.ReadAll(io.LimitReader(f, maxWords))
	return strings.TrimSpace(string(words)), true
}
