package lab

import (
	"net/netip"
	"path/filepath"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// Machine plugs a machine into the switch that is no node of the cluster, and gives the path of its network namespace. It goes with
// the lab. Its name is no other machine's, and at most as long as an interface's less three bytes.
func (l *Lab) Machine(name string, addresses ...netip.Addr) (netns string, err error) {
	netns = filepath.Join(namespaces, name)
	if err := sandbox.Namespace(netns); err != nil {
		return "", err
	}
	return netns, plugIn(name, netns, addresses...)
}
