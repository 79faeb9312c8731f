package agent

import (
	"errors"
	"path/filepath"

	"github.com/berth-ipam/berth/netops"
)

// remember has the kernel keep in the run directory which of the host's settings it changes.
func (a *Agent) remember(runDir string) {
	k, keeps := a.kernel.(interface{ Remember(m *netops.Memory) })
	if !keeps {
		return
	}
	path := filepath.Join(runDir, netops.SettingsFile)
	k.Remember(&netops.Memory{
		Read: func() ([]byte, error) { return a.Disk.Read(path) },
		Write: func(text []byte) error {
			f, err := a.Disk.Create(path + ".new")
			if err != nil {
				return err
			}
			_, err = f.WriteAt(text, 0)
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
			return a.Disk.Rename(path+".new", path)
		},
	})
}
