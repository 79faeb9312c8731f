package agent

import (
	"encoding/json"
	"net/netip"
	"strings"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
)

// maxAlias is how long a link's alias may be, in bytes (IFALIASZ less its end).
const maxAlias = 255

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
}

// alias is an entry's; empty where the names are too long for one.
func alias(e *journal.Entry) string {
	text, err := json.Marshal(aliased{
		Network: e.Attachment.Network, Container: e.Attachment.Container, Interface: e.Attachment.Interface,
		Pool: e.Pool, Addresses: e.Addresses, Namespace: e.App.Namespace, App: e.App.Name, Member: e.Member, Epoch: e.Epoch,
	})
	if err != nil || len(aliasPrefix)+len(text) > maxAlias {
		return ""
	}
	return aliasPrefix + string(text)
}

// parseAlias reads what alias wrote.
func parseAlias(text string) (*journal.Entry, bool) {
	text, ours := strings.CutPrefix(text, aliasPrefix)
	var l aliased
	if !ours || json.Unmarshal([]byte(text), &l) != nil || len(l.Addresses) == 0 {
		return nil, false
	}
	e := &journal.Entry{
		Attachment: allocator.Attachment{Network: l.Network, Container: l.Container, Interface: l.Interface},
		Class:      allocator.Stateless, App: allocator.App{Namespace: l.Namespace, Name: l.App}, Member: l.Member,
		Pool: l.Pool, Addresses: l.Addresses, Epoch: l.Epoch,
	}
	if l.Epoch != 0 {
		e.Class = allocator.Stateful
	}
	return e, e.Attachment.Validate() == nil
}
