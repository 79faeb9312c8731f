package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/netops"
)

const aliasPrefix = "berth "

// aliased is the part of an entry that the kernel keeps in the port's alias, for an agent that has lost its journal.
type aliased struct {
	Network   string       `json:"n"`
	Container string       `json:"c"`
	Interface string       `json:"i"`
	Pool      string       `json:"p"`
	Addresses []netip.Addr `json:"a"`
	Namespace string       `json:"s,omitempty"`
	App       string       `json:"o,omitempty"`
	Member    string       `json:"m,omitempty"`
	Epoch     int64        `json:"e,omitempty"` // stateful
	Routed    bool         `json:"r,omitempty"`
	MAC       string       `json:"h,omitempty"` // none: by the addresses
}

// alias is an entry's alias. It may be longer than a link's alias can be: netops keeps all of it.
func alias(e *journal.Entry) string {
	mac := e.Wiring.MAC
	if mac == netops.MACFor(e.Addresses).String() {
		mac = ""
	}
	text, _ := json.Marshal(aliased{ // cannot fail: names and numbers
		Network: e.Attachment.Network, Container: e.Attachment.Container, Interface: e.Attachment.Interface,
		Pool: e.Pool, Addresses: e.Addresses, Namespace: e.App.Namespace, App: e.App.Name, Member: e.Member, Epoch: e.Epoch,
		Routed: e.Wiring.Routed, MAC: mac,
	})
	return aliasPrefix + string(text)
}

// ParseAlias reads what alias wrote. Its error says why a port's attachment is unknown.
func ParseAlias(p netops.PortInfo) (*journal.Entry, error) {
	text, ours := strings.CutPrefix(p.Alias, aliasPrefix)
	if !ours {
		return nil, fmt.Errorf("it has no alias of Berth's, but %.80q", p.Alias)
	}
	var l aliased
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return nil, fmt.Errorf("its alias cannot be read: %w", err)
	}
	e := &journal.Entry{
		Attachment: allocator.Attachment{Network: l.Network, Container: l.Container, Interface: l.Interface},
		Class:      allocator.Stateless, App: allocator.App{Namespace: l.Namespace, Name: l.App}, Member: l.Member,
		Pool: l.Pool, Addresses: l.Addresses, Epoch: l.Epoch, Wiring: journal.Wiring{Routed: l.Routed, MAC: l.MAC},
	}
	if l.Epoch != 0 {
		e.Class = allocator.Stateful
	}
	if err := e.Attachment.Validate(); err != nil {
		return nil, fmt.Errorf("its alias names no attachment: %w", err)
	}
	if len(l.Addresses) == 0 || l.Pool == "" {
		return nil, errors.New("its alias names no address, or no pool")
	}
	return e, nil
}
