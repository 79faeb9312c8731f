package main

import (
	"os"
	"strings"
	"syscall"

	"github.com/berth-ipam/berth/internal/wire"
)

// ownNetns is the network namespace of this process.
const ownNetns = "/proc/self/ns/net"

// openNetns opens the container's network namespace, and makes sure that it is one and is not this process's own.
func (c *call) openNetns() (*os.File, error) {
	// What is no namespace must not hold the plugin up, as opening a pipe would.
	f, err := os.OpenFile(c.Netns, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, wire.Errorf(wire.CodeNetns, "the container's network namespace (CNI_NETNS): %w", err)
	}
	if err := wire.IsNetns(f); err != nil {
		f.Close()
		return nil, wire.Errorf(wire.CodeNetns, "the container's network namespace (CNI_NETNS) %s: %w", c.Netns, err)
	}
	if !c.netnsMayBeOwn() && sameFile(f.Name(), ownNetns) {
		f.Close()
		return nil, wire.Errorf(wire.CodeNetns,
			"the container's network namespace (CNI_NETNS) %s is the one that the plugin runs in: want the container's own", c.Netns)
	}
	c.skipNetnsCheck()
	return f, nil
}

// netnsMayBeOwn follows skel's rule for CNI_NETNS_OVERRIDE.
func (c *call) netnsMayBeOwn() bool {
	return c.NetnsOverride == "1" || strings.EqualFold(c.NetnsOverride, "true")
}

// skipNetnsCheck keeps skel from comparing the namespaces after a verb has been done: ADD has been refused before
// that, and a DEL after such an ADD succeeds.
func (c *call) skipNetnsCheck() { c.NetnsOverride = "1" }

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
