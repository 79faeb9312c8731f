package agent

import (
	"errors"
	"path/filepath"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/netops"
)

// remember has the kernel keep in the run directory which of the host's settings it changes.
func remember(n *node.Node, kernel Kernel, runDir string) {
	k, keeps := kernel.(interface{ Remember(m *netops.Memory) })
	if !keeps {
		return
	}
	path := filepath.Join(runDir, netops.SettingsFile)
	k.Remember(&netops.Memory{
		Read: func() ([]byte, error) { return n.Disk.Read(path) },
		Write: func(text []byte) error {
			f, err := n.Disk.Create(path + ".new")
			if err != nil {
				return err
			}
			_, err = f.WriteAt(text, 0)
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
			return n.Disk.Rename(path+".new", path)
		},
	})
}
