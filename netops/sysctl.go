package netops

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The sysctls of a network namespace; /proc/sys/net shows those of the reading thread's.
const (
	sysctlV4 = "/proc/sys/net/ipv4/conf"
	sysctlV6 = "/proc/sys/net/ipv6/conf"
)

func readSysctl(parts ...string) (string, error) {
	b, err := os.ReadFile(filepath.Join(parts...))
	return strings.TrimSpace(string(b)), err
}

// setSysctl makes a sysctl what it should be. One that is so already need not be writable.
func setSysctl(value string, parts ...string) error {
	path := filepath.Join(parts...)
	is, err := readSysctl(path)
	if err != nil || is == value {
		return err
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s (it is %s): %w", path, value, is, err)
	}
	return nil
}

// minimumV6 is the least MTU of a link that IPv6 runs on, in bytes (RFC 8200, section 5).
const minimumV6 = 1280

// hasV6 reports whether the kernel of this thread's namespace speaks IPv6 at all.
func hasV6() bool {
	_, err := os.Stat(sysctlV6)
	return err == nil
}

// refuseAdvertisements keeps a link from taking addresses and routes from whoever sends router advertisements
// (RFC 4861, section 6.3.4). A kernel without IPv6 does so anyway.
func refuseAdvertisements(link string) error {
	err := setSysctl("0", sysctlV6, link, "accept_ra")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// allowV6 lets a link have IPv6 addresses, whatever new links get by default.
func allowV6(link string) error {
	err := setSysctl("0", sysctlV6, link, "disable_ipv6")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("an IPv6 address is wanted on %s, but this kernel has no IPv6", link)
	}
	return err
}

// inheritV6 makes the bridge treat IPv6 as the NIC does whose place it takes. A bridge of an MTU below IPv6's least
// has none; the NIC's IPv6 addresses, if it has any, then cannot move, and are refused as such.
func inheritV6(nic, bridge string) error {
	for _, name := range [...]string{"disable_ipv6", "accept_ra"} {
		value, err := readSysctl(sysctlV6, nic, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = setSysctl(value, sysctlV6, bridge, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// promoteSecondaries lets a link keep its other IPv4 addresses of a subnet when the first of them is taken off.
func promoteSecondaries(link string) error {
	return setSysctl("1", sysctlV4, link, "promote_secondaries")
}
