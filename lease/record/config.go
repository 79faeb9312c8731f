package record

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// Changes is the value of the key that every change touches. It also says what there is, so that a record that
// somebody has deleted is missed.
type Changes struct {
	Changes  int64 `json:"changes"`
	Pools    *int  `json:"pools,omitempty"`    // how many there are; nil: an earlier version wrote it
	Settings bool  `json:"settings,omitempty"` // somebody has configured them

	Former []Former `json:"former,omitempty"`
}

// A Former is an address that was a gateway. Nodes take it off their bridges when they apply the change that made it so;
// until all of them have, no container is given it, whichever pool it lies in by then.
type Former struct {
	Address netip.Addr `json:"address"`
	Since   int64      `json:"since"` // the revision that was changed: a node that has applied a later one has taken it off
}

// A HistoryEntry is one change of the configuration. It was written in the change's own transaction.
type HistoryEntry struct {
	Number   int64     `json:"number"`
	Revision int64     `json:"revision,omitempty"`
	Who      string    `json:"who"`
	When     time.Time `json:"when"` // by the author's clock
	Message  string    `json:"message,omitempty"`
	Changes  []Change  `json:"changes"`
	Before   Objects   `json:"before"`
	After    Objects   `json:"after"`
}

// Objects are those that a change touched. One that is missing before was made, one that is missing after was removed.
type Objects struct {
	Settings *Settings        `json:"settings,omitempty"`
	Pools    []allocator.Pool `json:"pools,omitempty"`
}

// A Change is one field of the configuration that differs.
type Change struct {
	Object string `json:"object"` // "settings", or "pool" and the pool's name
	Field  string `json:"field"`
	Before string `json:"before,omitempty"` // empty: not there
	After  string `json:"after,omitempty"`
}

func (c Change) String() string {
	return fmt.Sprintf("%s: %s: %s -> %s", c.Object, c.Field, orNone(c.Before), orNone(c.After))
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// FormerGateways is what a change is about, in the history, that gives former gateways free.
const FormerGateways = "former gateways"

// FreesOnly reports whether a change has given former gateways free, and done nothing else.
func (h *HistoryEntry) FreesOnly() bool {
	objects := len(h.Before.Pools) + len(h.After.Pools)
	return objects == 0 && h.Before.Settings == nil && h.After.Settings == nil && len(h.Changes) > 0 &&
		!slices.ContainsFunc(h.Changes, func(c Change) bool { return c.Object != FormerGateways })
}
