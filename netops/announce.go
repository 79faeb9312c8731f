package netops

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/l2"
)

// Announce announces a port's addresses: at once from inside the container, and again a second later from the bridge, so that
// no socket of ours keeps the container's namespace alive meanwhile. Before Join no host would receive it. It does not wait;
// Leave and Detach end it. A failure is ignored, because neighbours resolve the address anyway.
func (k *Kernel) Announce(p Port) {
	fd, err := unix.FcntlInt(p.Netns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	inside := l2.Announcement{Netns: os.NewFile(uintptr(fd), p.Netns.Name()), Link: p.Interface, Addresses: p.Addresses, MAC: p.mac()}
	outside := inside
	outside.Netns, outside.Link = k.home, p.Bridge
	k.announcer.Announce(p.Name, inside, outside)
}
