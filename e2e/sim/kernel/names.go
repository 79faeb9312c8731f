package kernel

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// firstID is where ids begin that no later namespace gets: see netops.LastingID.
const firstID = 1 << 30

// identify gives a namespace an id, or is the one that it has; 0: the lowest that is free, as the kernel does by itself.
func (h *Host) identify(n *Namespace, want int) int {
	for id, other := range h.ids {
		if other == n {
			return id
		}
	}
	if want == 0 {
		for h.ids[want] != nil {
			want++
		}
	}
	h.ids[want] = n
	return want
}

// NamespaceInode identifies a namespace of a running kernel.
func (k *Kernel) NamespaceInode(ns *os.File) (inode uint64, err error) {
	err = k.do("NamespaceInode", func() error {
		n, err := k.lan.namespace(ns)
		if err == nil {
			inode = n.inode
		}
		return err
	})
	return inode, err
}

// FindNamespace opens the network namespace with that inode: at the path, or else where a process is in it.
func (k *Kernel) FindNamespace(path string, inode uint64) (f *os.File, err error) {
	err = k.do("FindNamespace", func() (err error) {
		n := k.lan.byInode[inode]
		if n == nil || n.ended || n.host != k.host || n.empty && n.path != path {
			return fmt.Errorf("network namespace %s is not to be seen, nor is a process in it", path)
		}
		f, err = os.Open(n.path)
		return err
	})
	if err != nil && f != nil {
		f.Close()
		return nil, err
	}
	return f, err
}

// WatchNamespace gives a namespace an id in the host's.
func (k *Kernel) WatchNamespace(ns *os.File) (id int, err error) {
	err = k.do("WatchNamespace", func() error {
		n, err := k.lan.namespace(ns)
		if err == nil && n.ended {
			err = unix.EINVAL
		}
		if err == nil {
			id = k.host.identify(n, firstID+int(n.cookie%firstID))
		}
		return err
	})
	return id, err
}

// NamespaceAlive reports whether a namespace has the id that WatchNamespace gave.
func (k *Kernel) NamespaceAlive(id int) (alive bool, err error) {
	err = k.do("NamespaceAlive", func() error { alive = k.host.ids[id] != nil; return nil })
	return alive && err == nil, err
}

// NamespaceHas reports whether the namespace of that id lives and an interface inside it has the address.
func (k *Kernel) NamespaceHas(id int, a netip.Addr) (has bool, err error) {
	err = k.do("NamespaceHas", func() error {
		n := k.host.ids[id]
		if n == nil {
			return nil
		}
		for _, l := range n.links {
			for _, held := range l.addresses {
				has = has || held.Addr() == a
			}
		}
		return nil
	})
	return has && err == nil, err
}
