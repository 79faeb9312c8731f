package sysctl

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Forward lets the host forward packets of the prefixes' families, and those of a bridge. It runs in the host's namespace.
func Forward(bridge string, prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		var err error
		if p.Addr().Is4() {
			err = errors.Join(Set("1", V4, "all", "forwarding"), Set("1", V4, bridge, "forwarding"))
		} else {
			err = errors.Join(forwardV6(), Set("1", V6, bridge, "forwarding"))
		}
		if err != nil {
			return fmt.Errorf("forward packets: %w", err)
		}
	}
	return nil
}

// forwardV6 turns forwarding on. A host that forwards ignores router advertisements, and loses its default route with
// the next one; so links that took them are told first to go on doing so.
func forwardV6() error {
	if is, err := Read(V6, "all", "forwarding"); err != nil || is == "1" {
		return err
	}
	entries, err := os.ReadDir(V6)
	if err != nil {
		return err
	}
	const despiteForwarding = "2"
	for _, e := range entries {
		if e.Name() == "all" || e.Name() == "default" || e.Name() == "lo" {
			continue
		}
		takes, err := Read(V6, e.Name(), "accept_ra")
		if err != nil || takes != "1" {
			continue // the link is gone, or takes none
		}
		if err := Set(despiteForwarding, V6, e.Name(), "accept_ra"); err != nil {
			if _, gone := os.Stat(filepath.Join(V6, e.Name())); os.IsNotExist(gone) {
				continue
			}
			return err
		}
	}
	return Set("1", V6, "all", "forwarding")
}

// ForwardAll lets the host forward packets of the prefixes' families on all links. It runs in the host's namespace.
func ForwardAll(prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		var err error
		if p.Addr().Is4() {
			err = Set("1", V4, "all", "forwarding")
		} else {
			err = forwardV6()
		}
		if err != nil {
			return fmt.Errorf("forward packets: %w", err)
		}
	}
	return nil
}
