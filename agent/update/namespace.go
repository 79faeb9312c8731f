package update

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/internal/wire"
)

// openNamespace opens the network namespace of a running container, by the runtime's path if the agent sees it, else by a process
// in it. An agent keeps none open, because an open namespace stays alive.
func (u *Updater) openNamespace(e *journal.Entry) (*os.File, error) {
	if f, err := openSame(e.Netns, e.Inode); err == nil {
		return f, nil
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, err
	}
	for _, path := range processes {
		if f, err := openSame(path, e.Inode); err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("the network namespace %s of %s is not to be seen from the agent, nor is a process in it: let the agent "+
		"share the host's /run and process ids", e.Netns, e.Attachment)
}

// openSame opens path if it is the network namespace with that inode.
func openSame(path string, want uint64) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if got, err := Inode(f); err != nil || got != want || wire.IsNetns(f) != nil {
		f.Close()
		return nil, fmt.Errorf("%s is another namespace", path)
	}
	return f, nil
}

// Inode identifies a namespace of a running kernel (ioctl_nsfs(2)).
func Inode(f *os.File) (uint64, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return 0, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return s.Ino, nil
}
