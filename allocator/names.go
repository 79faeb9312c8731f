package allocator

import (
	"fmt"
	"regexp"
)

// A Class is how the members of an app get their addresses.
type Class string

const (
	Stateless Class = "stateless" // any leased address will do
	Stateful  Class = "stateful"  // the member's reserved address, on whatever node
)

// Classes are both.
var Classes = []Class{Stateless, Stateful}

// ParseClass reads a class; the empty word means Stateless.
func ParseClass(s string) (Class, error) {
	switch Class(s) {
	case "", Stateless:
		return Stateless, nil
	case Stateful:
		return Stateful, nil
	}
	return "", fmt.Errorf("class %q: want %q or %q", s, Stateless, Stateful)
}

// An Attachment is one interface of one container, as CNI identifies it
// (CNI specification 1.1.0, section 2, "Attachment").
type Attachment struct {
	Network   string `json:"network"`
	Container string `json:"container"`
	Interface string `json:"interface"`
}

func (a Attachment) String() string {
	return a.Network + "/" + a.Container + "/" + a.Interface
}

// Validate reports the first name that CNI or a key in etcd could not hold.
func (a Attachment) Validate() error {
	if err := ValidName("network", a.Network); err != nil {
		return err
	}
	if err := ValidName("container ID", a.Container); err != nil {
		return err
	}
	return validInterface(a.Interface)
}

// An App is a named group of containers that share released addresses. The zero App is no app.
type App struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"app,omitempty"`
}

func (a App) String() string {
	if a == (App{}) {
		return ""
	}
	return a.Namespace + "/" + a.Name
}

// An Identity is what a reservation belongs to: one interface of one member of a stateful app.
type Identity struct {
	Namespace string `json:"namespace"`
	App       string `json:"app"`
	Member    string `json:"member"`
	Network   string `json:"network"`
	Interface string `json:"interface"`
}

func (i Identity) String() string {
	return i.Namespace + "/" + i.App + "/" + i.Member
}

// Validate reports the first name that is missing or that a key in etcd could not hold.
func (i Identity) Validate() error {
	names := [...]struct{ what, name string }{
		{"namespace", i.Namespace}, {"app", i.App}, {"member", i.Member}, {"network", i.Network},
	}
	for _, n := range names {
		if err := ValidName(n.what, n.name); err != nil {
			return err
		}
	}
	return validInterface(i.Interface)
}

// A Workload is the orchestrator's name of what it runs a container for: a pod of Kubernetes, an allocation of Nomad, a container
// of Podman. It is only shown.
type Workload struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// String is NAMESPACE/NAME, or the name alone where there is no namespace.
func (w Workload) String() string {
	if w.Namespace == "" || w.Name == "" {
		return w.Name
	}
	return w.Namespace + "/" + w.Name
}

// maxName bounds every name that comes from outside, in bytes: what a DNS name may have (RFC 1035, section 2.3.4).
const maxName = 253

// The alphabet of CNI's own network names and container IDs. It has no slash, so a key built of such names
// can be neither forged nor taken for another.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`)

// ValidName reports whether name may stand in a key; what says in the error which name it was.
func ValidName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is missing", what)
	case len(name) > maxName:
		return fmt.Errorf("%s has %d bytes: at most %d are allowed", what, len(name), maxName)
	case !nameForm.MatchString(name):
		return fmt.Errorf("%s %q: want a letter or digit, then letters, digits, '_', '.' or '-'", what, name)
	}
	return nil
}

// validInterface follows the kernel's rule for interface names (IFNAMSIZ, dev_valid_name).
func validInterface(name string) error {
	const max = 15
	bad := name == "." || name == ".."
	for _, r := range name {
		bad = bad || r <= ' ' || r == '/' || r == ':' || r >= 0x7f
	}
	switch {
	case name == "":
		return fmt.Errorf("interface name is missing")
	case len(name) > max:
		return fmt.Errorf("interface name %q has %d bytes: at most %d are allowed", name, len(name), max)
	case bad:
		return fmt.Errorf("interface name %q: it may have no '/', ':', space or control character, and not be '.' or '..'", name)
	}
	return nil
}
