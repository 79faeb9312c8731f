package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/dump"
)

// A Census counts what a cluster holds, so that before and after can be compared: one line a thing, in order.
type Census []string

// Census counts, of every node: links, ports in a class of the kernel's table, attachments in the journal, notes in
// the spool, and what etcd is still to be told; and of etcd: assignments, reservations, identities. Blocks are not
// counted, since a node keeps those that it has.
func (l *Lab) Census(ctx context.Context) (Census, error) {
	var lines Census
	for _, node := range l.Nodes {
		count, err := node.count(ctx)
		if err != nil {
			return nil, err
		}
		lines = append(lines, count...)
	}
	if l.Etcd == nil {
		return lines, nil
	}
	keys, err := l.Etcd.Get(ctx, "/berth/v1/")
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch kind, _, _ := strings.Cut(strings.TrimPrefix(key, "/berth/v1/"), "/"); kind {
		case "assignments", "identities":
			lines = append(lines, key)
		case "reservations":
			lines = append(lines, key+" "+keys[key])
		}
	}
	return lines, nil
}

func (n *Node) count(ctx context.Context) (Census, error) {
	links, err := n.Links()
	if err != nil {
		return nil, err
	}
	ports, err := n.ports()
	if err != nil {
		return nil, err
	}
	attachments, err := n.Metric(ctx, "berth_attachments")
	if err != nil {
		return nil, err
	}
	notes, err := os.ReadDir(filepath.Join(n.RunDir(), "spool"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	owed, err := n.Metric(ctx, "berth_publish_backlog")
	if err != nil {
		return nil, err
	}
	lines := Census{fmt.Sprintf("%s holds %v attachments", n.Name, attachments)}
	if owed > 0 {
		lines = append(lines, fmt.Sprintf("%s owes etcd %v changes", n.Name, owed))
	}
	for _, note := range notes {
		lines = append(lines, n.Name+" has note "+note.Name())
	}
	for _, link := range links {
		lines = append(lines, n.Name+" has link "+link)
	}
	for _, port := range ports {
		lines = append(lines, n.Name+" has port "+port)
	}
	return lines, nil
}

// Links names the interfaces in the node.
func (n *Node) Links() ([]string, error) { return linksIn(n.netns) }

// Links names the interfaces in the container.
func (c *Container) Links() ([]string, error) { return linksIn(c.Netns) }

func linksIn(path string) ([]string, error) {
	namespace, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	handle, err := netlink.NewHandleAt(namespace, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	links, err := dump.Whole(func() ([]netlink.Link, error) { return handle.LinkList() })
	if err != nil {
		return nil, fmt.Errorf("lab: list the links in %s: %w", path, err)
	}
	var names []string
	for _, link := range links {
		names = append(names, link.Attrs().Name)
	}
	slices.Sort(names)
	return names, nil
}

// classes are the sets of the node's tables that name ports. Its other ones are the fence's, which come and go.
var classes = []string{"stateless", "stateful"}

// families are those of the tables: of the ports on bridges, and of routed ones.
var families = []nftables.TableFamily{nftables.TableFamilyBridge, nftables.TableFamilyINet}

// ports names the ports of each class, as the kernel's tables have them.
func (n *Node) ports() ([]string, error) {
	namespace, err := netns.GetFromPath(n.netns)
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	connection, err := nftables.New(nftables.WithNetNSFd(int(namespace)))
	if err != nil {
		return nil, err
	}
	var sets []*nftables.Set
	for _, family := range families {
		some, err := connection.GetSets(&nftables.Table{Name: "berth", Family: family})
		if err != nil {
			return nil, fmt.Errorf("lab: list the sets of %s: %w", n.Name, err)
		}
		sets = append(sets, some...)
	}
	var names []string
	for _, set := range sets {
		if !slices.Contains(classes, set.Name) {
			continue
		}
		elements, err := connection.GetSetElements(set)
		if err != nil {
			return nil, err
		}
		for _, element := range elements {
			names = append(names, path.Join(set.Name, strings.TrimRight(string(element.Key), "\x00")))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Difference says what is in one census and not in the other; it is empty when they are the same.
func (c Census) Difference(after Census) string {
	var lines []string
	for _, line := range c {
		if !slices.Contains(after, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(c, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// Left gives the lines that tell of containers: in a cluster without any there are none, once it has come to rest.
// Reservations outlive containers, and are not among them.
func (c Census) Left() (lines []string) {
	for _, line := range c {
		if strings.Contains(line, "/assignments/") || strings.Contains(line, " has port ") || strings.Contains(line, " has link bth") ||
			strings.Contains(line, " has note ") || strings.Contains(line, " owes etcd ") ||
			strings.HasSuffix(line, " attachments") && !strings.HasSuffix(line, " holds 0 attachments") {
			lines = append(lines, line)
		}
	}
	return lines
}
