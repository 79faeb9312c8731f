package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// locks is where a machine keeps those of its agents.
const locks = "/run/lock"

// ownLocks gives the programs that this thread starts from now on a view of files in which the locks are the node's
// alone, as on a machine of its own. A node without an identity of its own shares them with all others like it. The
// view keeps no container's namespace: the removal of its path unmounts it in every view.
func (n *Node) ownLocks() error {
	if n.Machine == "" {
		return nil
	}
	own := filepath.Join(root, n.Name+".lock")
	for _, dir := range []string{own, locks} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("lab: a mount namespace for %s: %w", n.Name, err)
	}
	if err := unix.Mount(own, locks, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("lab: give %s locks of its own: %w", n.Name, err)
	}
	return nil
}
