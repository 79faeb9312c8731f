package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/dump"
)

// A view is who holds what, as one of etcd, the journals and the kernels has it: by container, "address on node", and
// of two families one after the other.
type view map[string]string

func held(node string, addresses ...netip.Addr) string {
	var words []string
	for _, a := range slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare) {
		words = append(words, fmt.Sprintf("%v on %s", a, node))
	}
	return strings.Join(words, ", ")
}

// also adds an address to what a container holds; those of IPv4 come first.
func (v view) also(container, node string, address netip.Addr) {
	words := []string{held(node, address)}
	if v[container] != "" {
		words = append(words, v[container])
	}
	if len(words) > 1 && !address.Is4() {
		slices.Reverse(words)
	}
	v[container] = strings.Join(words, ", ")
}

// views read what each of the three holds, and the owners of all parts of blocks.
func (w *world) views(ctx context.Context) (map[string]view, []part, error) {
	etcd, err := w.etcdView(ctx)
	blocks, failed := w.parts(ctx)
	err = errors.Join(err, failed)
	journals, kernels := view{}, view{}
	for _, h := range w.nodes {
		err = errors.Join(err, h.journalView(journals), h.kernelView(kernels))
	}
	return map[string]view{"etcd": etcd, "the journals": journals, "the kernels": kernels}, blocks, err
}

// A part of a block, and whose it is.
type part struct {
	Prefix netip.Prefix
	Owner  string
}

func (w *world) parts(ctx context.Context) (all []part, err error) {
	keys, err := w.lab.Etcd.Get(ctx, "/berth/v1/blocks/")
	for key, value := range keys {
		var block struct{ Parts []part }
		if err := json.Unmarshal([]byte(value), &block); err != nil {
			return nil, fmt.Errorf("faults: %s: %w", key, err)
		}
		all = append(all, block.Parts...)
	}
	return all, err
}

// strangers name the replicas whose address is in a part that is not their node's, so that it may be given again.
func strangers(current []*instance, may map[string]bool, parts []part) (lines []string) {
	for _, i := range current {
		for _, address := range i.had {
			mine := func(p part) bool { return p.Owner == i.host.Name && p.Prefix.Contains(address) }
			if i.member == "" && !may[i.key] && !slices.ContainsFunc(parts, mine) {
				lines = append(lines, fmt.Sprintf("%s has %v, which is in no part of %s", i.ID, address, i.host.Name))
			}
		}
	}
	return lines
}

func (w *world) etcdView(ctx context.Context) (view, error) {
	type attachment struct{ Container string }
	v := view{}
	for _, prefix := range []string{"assignments", "reservations"} {
		keys, err := w.lab.Etcd.Get(ctx, "/berth/v1/"+prefix+"/")
		if err != nil {
			return nil, err
		}
		for key, value := range keys {
			var record struct {
				Attachment attachment
				Node       string
				Holder     *struct {
					Attachment attachment
					Node       string
				}
			}
			if err := json.Unmarshal([]byte(value), &record); err != nil {
				return nil, fmt.Errorf("faults: %s: %w", key, err)
			}
			address, err := netip.ParseAddr(key[strings.LastIndex(key, "/")+1:])
			if err != nil {
				return nil, fmt.Errorf("faults: %s: %w", key, err)
			}
			if record.Holder != nil {
				v.also(record.Holder.Attachment.Container, record.Holder.Node, address)
			} else if prefix == "assignments" {
				v.also(record.Attachment.Container, record.Node, address)
			}
		}
	}
	return v, nil
}

// journalView reads from a node's journal what it has answered.
func (h *host) journalView(v view) error { return h.journal(v, view{}) }

// journalUnder reads from a node's journal what it has chosen and not answered.
func (h *host) journalUnder(v view) error { return h.journal(view{}, v) }

// journal reads the journal as the file that it is: a checksum and a record a line, of which the last about a
// container counts.
func (h *host) journal(answered, under view) error {
	text, err := os.ReadFile(filepath.Join(h.RunDir(), "journal"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(strings.TrimRight(string(text), "\x00")) {
		_, body, _ := strings.Cut(line, " ")
		var record struct {
			Hold *struct {
				Attachment struct{ Container string }
				Addresses  []netip.Addr
				Answered   int64
			}
			Release *struct{ Attachment struct{ Container string } }
		}
		if json.Unmarshal([]byte(body), &record) != nil {
			continue // what a crash left of a write
		}
		if record.Release != nil {
			delete(answered, record.Release.Attachment.Container)
			delete(under, record.Release.Attachment.Container)
		}
		if hold := record.Hold; hold != nil && len(hold.Addresses) > 0 {
			name, has := hold.Attachment.Container, held(h.Name, hold.Addresses...)
			if under[name] = has; hold.Answered != 0 {
				answered[name] = has
				delete(under, name)
			}
		}
	}
	return nil
}

// kernelView reads the aliases of a node's links, which name whose each port is.
func (h *host) kernelView(v view) error {
	space, err := netns.GetFromPath(h.Netns())
	if err != nil {
		return err
	}
	defer space.Close()
	handle, err := netlink.NewHandleAt(space, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	links, err := dump.Whole(func() ([]netlink.Link, error) { return handle.LinkList() })
	if err != nil {
		return fmt.Errorf("faults: list the links of %s: %w", h.Name, err)
	}
	for _, link := range links {
		text, ours := strings.CutPrefix(link.Attrs().Alias, "berth ")
		var alias struct {
			Container string       `json:"c"`
			Addresses []netip.Addr `json:"a"`
		}
		if ours && json.Unmarshal([]byte(text), &alias) == nil && len(alias.Addresses) > 0 {
			v[alias.Container] = held(h.Name, alias.Addresses...)
		}
	}
	return nil
}

// differences say where the views are not what is wanted. Whether a container that may have lost its address is among
// them does not matter.
func differences(want view, may map[string]bool, views map[string]view) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(views)) {
		v := views[name]
		for _, container := range slices.Sorted(maps.Keys(want)) {
			if have := v[container]; have != want[container] && !may[container] {
				lines = append(lines, fmt.Sprintf("%s: %s has %q: want %q", name, container, have, want[container]))
			}
		}
		for _, container := range slices.Sorted(maps.Keys(v)) {
			if _, wanted := want[container]; !wanted {
				lines = append(lines, fmt.Sprintf("%s: %s has %q, and was deleted", name, container, v[container]))
			}
		}
	}
	return lines
}
