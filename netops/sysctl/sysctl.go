package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where the settings of links are, by the link's name; "all" and "default" are names, too.
const (
	V4 = "/proc/sys/net/ipv4/conf"
	V6 = "/proc/sys/net/ipv6/conf"
)

// Read reads a setting.
func Read(parts ...string) (string, error) {
	b, err := os.ReadFile(filepath.Join(parts...))
	return strings.TrimSpace(string(b)), err
}

// Set makes a sysctl what it should be. One that is so already need not be writable.
func Set(value string, parts ...string) error {
	path := filepath.Join(parts...)
	is, err := Read(path)
	if err != nil || is == value {
		return err
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s (it is %s): %w", path, value, is, err)
	}
	return nil
}

// MinimumV6 is the least MTU of a link that IPv6 runs on, in bytes (RFC 8200, section 5).
const MinimumV6 = 1280

// HasV6 reports whether the kernel of this thread's namespace speaks IPv6 at all.
func HasV6() bool {
	_, err := os.Stat(V6)
	return err == nil
}

// RefuseAdvertisements keeps a link from taking addresses and routes from whoever sends router advertisements
// (RFC 4861, section 6.3.4). A kernel without IPv6 does so anyway.
func RefuseAdvertisements(link string) error {
	err := Set("0", V6, link, "accept_ra")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// AllowV6 lets a link have IPv6 addresses, whatever new links get by default.
func AllowV6(link string) error {
	err := Set("0", V6, link, "disable_ipv6")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("an IPv6 address is wanted on %s, but this kernel has no IPv6", link)
	}
	return err
}

// InheritV6 makes the bridge treat IPv6 as the NIC does whose place it takes. A bridge of an MTU below IPv6's least
// has none; the NIC's IPv6 addresses, if it has any, then cannot move, and are refused as such.
func InheritV6(nic, bridge string) error {
	for _, name := range [...]string{"disable_ipv6", "accept_ra"} {
		value, err := Read(V6, nic, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = Set(value, V6, bridge, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
