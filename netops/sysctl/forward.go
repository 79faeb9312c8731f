package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
)

// Forward lets the host forward packets of the prefixes' families, and those of a bridge. It runs in the host's namespace.
func (m *Memory) Forward(bridge string, prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		base := baseOf(p)
		if err := errors.Join(m.forward(base), m.Set("1", base, bridge, "forwarding")); err != nil {
			return fmt.Errorf("forward packets: %w", err)
		}
	}
	return nil
}

// ForwardAll lets the host forward packets of the prefixes' families on all links. It runs in the host's namespace.
func (m *Memory) ForwardAll(prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		if err := m.forward(baseOf(p)); err != nil {
			return fmt.Errorf("forward packets: %w", err)
		}
	}
	return nil
}

func baseOf(p netip.Prefix) string {
	if p.Addr().Is4() {
		return V4
	}
	return V6
}

// forward turns forwarding on. With it the kernel turns on that of each link, and of those to come, and has no IPv4 link take redirects.
func (m *Memory) forward(base string) error {
	all := filepath.Join(base, "all", "forwarding")
	if is, err := Read(all); err != nil || is == "1" {
		return err
	}
	along, err := links(base, "forwarding", "1")
	if err != nil {
		return err
	}
	if base == V6 {
		if err := m.goOnWithAdvertisements(); err != nil {
			return err
		}
	} else if redirects, err := Read(base, "all", "accept_redirects"); err == nil {
		along = append(along, Changed{Path: filepath.Join(base, "all", "accept_redirects"), Before: redirects, Made: "0"})
	}
	for i := range along {
		along[i].With = all
	}
	return m.set("1", all, along...)
}

// goOnWithAdvertisements has links that took router advertisements go on doing so: a host that forwards ignores them, and loses its
// default route with the next one.
func (m *Memory) goOnWithAdvertisements() error {
	const takes, despiteForwarding = "1", "2"
	all, err := links(V6, "accept_ra", despiteForwarding)
	if err != nil {
		return err
	}
	for _, c := range all {
		if name := filepath.Base(filepath.Dir(c.Path)); c.Before != takes || name == "default" || name == "lo" {
			continue
		}
		if err := m.Set(despiteForwarding, c.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// links are a setting of each link, and of those to come, as it is and as it is to be made.
func links(base, setting, made string) (all []Changed, err error) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(base, e.Name(), setting)
		is, err := Read(path)
		if e.Name() == "all" || errors.Is(err, fs.ErrNotExist) {
			continue // of a link that is gone
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Changed{Path: path, Before: is, Made: made})
	}
	return all, nil
}
