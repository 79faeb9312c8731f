package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeDisk makes the node's run directory, on a file system of its own where the lab has disks of a size.
func (n *Node) makeDisk() error {
	if err := os.MkdirAll(n.RunDir(), 0o755); err != nil || n.lab.options.Disk == 0 {
		return err
	}
	if err := unix.Mount("lab-"+n.Name, n.RunDir(), "tmpfs", 0, fmt.Sprintf("mode=0755,size=%d", n.lab.options.Disk)); err != nil {
		return fmt.Errorf("lab: make a disk of %d bytes at %s: %w", n.lab.options.Disk, n.RunDir(), err)
	}
	return nil
}

// removeDisk removes the run directory and what is in it; its absence is success.
func (n *Node) removeDisk() error {
	if err := unix.Unmount(n.RunDir(), unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return fmt.Errorf("lab: unmount %s: %w", n.RunDir(), err)
	}
	return os.RemoveAll(n.RunDir())
}

func (n *Node) filling() string { return filepath.Join(n.RunDir(), "filling") }

// Fill takes up every byte that is left on the node's disk; the lab must have disks of a size (Options.Disk).
func (n *Node) Fill() error {
	if n.lab.options.Disk == 0 {
		return errors.New("lab: fill the disk of " + n.Name + ": it is everyone's: set Options.Disk")
	}
	file, err := os.OpenFile(n.filling(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err = io.Copy(file, zeros{}); errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return fmt.Errorf("lab: fill the disk of %s: want it to end with %w, got %w", n.Name, unix.ENOSPC, err)
}

// Free gives back what Fill took; it is no error when there is nothing.
func (n *Node) Free() error { return os.RemoveAll(n.filling()) }

// zeros reads without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
