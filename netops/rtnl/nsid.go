package rtnl

import (
	"errors"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// sizeofGeneric is the size of the header of messages about namespaces: struct rtgenmsg, padded.
const sizeofGeneric = 4

// ParseNamespaceID reads the body of RTM_NEWNSID or RTM_DELNSID; -1: it names no id.
func ParseNamespaceID(body []byte) int {
	if len(body) < sizeofGeneric {
		return -1
	}
	for kind, value := range Attributes(body[sizeofGeneric:]) {
		if kind == unix.NETNSA_NSID {
			return number(value)
		}
	}
	return -1
}

// GiveNamespaceID gives a namespace an id in the socket's, or answers with the one that it has already.
func GiveNamespaceID(s *Socket, ns *os.File, id int) (int, error) {
	file := numberAttr(unix.NETNSA_FD, int(ns.Fd()))
	err := s.Do(ask(unix.RTM_NEWNSID, 0, "give network namespace "+ns.Name()+" an id", nl.NewRtGenMsg(),
		file, numberAttr(unix.NETNSA_NSID, id)))
	if !errors.Is(err, unix.EEXIST) {
		return id, err
	}
	return namespaceID(s, file)
}

// namespaceID asks for the id of a namespace in the socket's.
func namespaceID(s *Socket, which *nl.RtAttr) (id int, err error) {
	id = -1
	err = s.Get(func(_ uint16, body []byte) { id = ParseNamespaceID(body) },
		ask(unix.RTM_GETNSID, 0, "ask for a namespace's id", nl.NewRtGenMsg(), which))
	if err == nil && id < 0 {
		err = errors.New("the network namespace has no id in the host's")
	}
	return id, err
}

// HasNamespaceID reports whether a namespace has the id in the socket's.
func HasNamespaceID(s *Socket, id int) (has bool, err error) {
	_, err = namespaceID(s, numberAttr(unix.NETNSA_NSID, id))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case !errors.Is(err, unix.EINVAL):
		return false, err
	}
	// Kernels before 4.20 look none up by its id: theirs are listed.
	err = s.dump(unix.RTM_GETNSID, "list namespace ids", func() { has = false },
		func(_ uint16, body []byte) { has = has || ParseNamespaceID(body) == id }, nl.NewRtGenMsg())
	return has, err
}

// AddressIn reports whether a link of the namespace that has the id in the socket's has the address.
func AddressIn(s *Socket, id int, a netip.Addr) (has bool, err error) {
	held, err := AddressesOf(s, familyOf(a), 0, numberAttr(unix.IFA_TARGET_NETNSID, id))
	for _, h := range held {
		has = has || h.Prefix.Addr() == a
	}
	return has, err
}
