package faults

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/faults/watch"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// hops are the settings of the TTL and the hop limit of what a namespace sends.
var hops = []string{
	"/proc/sys/net/ipv4/ip_default_ttl",
	"/proc/sys/net/ipv6/conf/all/hop_limit", "/proc/sys/net/ipv6/conf/default/hop_limit",
}

// mark has all that a container sends begin with a TTL of its own: no other container that lives on its node has the same. By it a
// watcher that sees only the node's MAC knows whose an answer is.
func (w *world) mark(i *instance) error {
	value := []byte(strconv.Itoa(int(w.give(i))))
	return sandbox.Within(i.Netns, func() (err error) {
		for _, path := range hops {
			if failed := os.WriteFile(path, value, 0); !errors.Is(failed, fs.ErrNotExist) { // without IPv6
				err = errors.Join(err, failed)
			}
		}
		return err
	})
}

// A marked is a container of a node as the watcher sees it.
type marked struct {
	node string
	mark byte
}

// give gives a container the mark of its node that nobody has had for longest.
func (w *world) give(i *instance) byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	used := map[byte]bool{}
	for other := range w.live {
		used[other.mark] = used[other.mark] || other.host == i.host && other != i
	}
	for {
		if i.host.mark++; i.host.mark < watch.FirstMark || i.host.mark > watch.LastMark {
			i.host.mark = watch.FirstMark
		}
		if !used[i.host.mark] {
			i.mark = i.host.mark
			w.marks[marked{i.host.Name, i.mark}] = i.mac
			return i.mark
		}
	}
}

// marked is the container of a node with a mark.
func (w *world) marked(node string, mark byte) (check.MAC, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mac, is := w.marks[marked{node, mark}]
	return mac, is
}
