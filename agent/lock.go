package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// LockNode makes this process the only agent on the machine for a node name, until it ends. The lock is the kernel's,
// so that a killed agent leaves none behind; it lies beside every run directory, since two agents of one name may
// have been given two.
func LockNode(node string) (unlock func() error, err error) {
	dir, err := lockDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, node+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("agent: lock node %q: %w", node, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("agent: another agent on this machine serves node %q (it holds %s): stop it, or give this one another --node", node, path)
		}
		return nil, fmt.Errorf("agent: lock %s: %w", path, err)
	}
	return f.Close, nil
}

// lockDir is the machine's folder for locks, or the user's own where that is not to be written.
func lockDir() (string, error) {
	for _, dir := range []string{"/run/lock/berth", filepath.Join(os.TempDir(), fmt.Sprintf("berth-%d", os.Getuid()))} {
		if os.MkdirAll(dir, 0o700) == nil && unix.Access(dir, unix.W_OK) == nil {
			return dir, nil
		}
	}
	return "", errors.New("agent: neither /run/lock nor the temporary folder can be written: the agent keeps a lock there, that one node name has one agent")
}
