// Package ifname knows which names an interface can have, so that plugin, agent and berthctl refuse a name that the
// kernel would refuse, or would make another one of.
package ifname

import (
	"fmt"
	"slices"
	"strings"
)

// maxBytes is how long a name may be (the kernel's IFNAMSIZ, less its end).
const maxBytes = 15

// taken are the names that are directories of /proc/sys/net/*/conf besides those of interfaces.
var taken = []string{"all", "default"}

// Validate reports why no interface can have a name: the kernel's dev_valid_name, and what it would make another name
// of. It puts a number in place of %d (dev_alloc_name), so that nobody would find the interface under the name that was
// asked for. What says in the error which name it was.
func Validate(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is missing: want the name of an interface, such as eth0", what)
	case len(name) > maxBytes:
		return fmt.Errorf("%s %q has %d bytes: an interface name has at most %d", what, name, len(name), maxBytes)
	case name == "." || name == ".." || slices.Contains(taken, name):
		return fmt.Errorf("%s %q: an interface cannot be called so: it is a directory of /proc/sys/net", what, name)
	case strings.Contains(name, "%"):
		return fmt.Errorf("%s %q: an interface name may have no '%%': the kernel would put a number in its place", what, name)
	case strings.ContainsFunc(name, forbidden):
		return fmt.Errorf("%s %q: an interface name may have no '/', ':', white space or control character, and nothing beyond ASCII", what, name)
	}
	return nil
}

func forbidden(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r >= 0x7f }
