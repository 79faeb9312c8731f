package record

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
)

// maxParts bounds the parts of a block, and so its record: it stays far below what etcd takes. Transfers keep to it; a
// record may have some more, by claims and assertions of what is nobody's.
const (
	MaxParts      = 1024
	maxPartsFound = 4 * MaxParts
)

// maxPool bounds a pool's record in bytes: its lists are compared with each other.
const maxPool = 256 << 10

func validCluster(c *Cluster, _ kv.Key, _ int64) error {
	if err := validCounts(count64{"life", c.Incarnation}); err != nil {
		return err
	}
	for _, id := range c.Former {
		if err := validClusterID(id); err != nil {
			return err
		}
	}
	if c.ID == "" { // voided
		return nil
	}
	return validClusterID(c.ID)
}

func validClusterID(id string) error {
	if _, err := strconv.ParseUint(id, 16, 64); err != nil {
		return fmt.Errorf("cluster id %q: want etcd's own in hexadecimal", id)
	}
	return nil
}

func validCount(c *Changes, _ kv.Key, _ int64) error {
	if c.Changes < 1 {
		return fmt.Errorf("changes %d: want how many changes there were, 1 or more", c.Changes)
	}
	if c.Pools != nil && *c.Pools < 0 {
		return fmt.Errorf("pools %d: want how many there are", *c.Pools)
	}
	return validCounts(count64{"changes", c.Changes})
}

func validSettings(s *Settings, _ kv.Key, _ int64) error { return s.Validate() }

func validRecordOfNode(n *Node, key kv.Key, _ int64) error {
	if err := firstOf(agreeIfThere("name", n.Name, key.Node), ValidNode("node", key.Node)); err != nil {
		return err
	}
	if n.Removed != nil {
		return nil // a tombstone has no machine, and nobody waits for its rights
	}
	if n.Machine == "" {
		return errors.New("machine is missing")
	}
	if err := ValidHops("hops", n.Hops); err != nil {
		return err
	}
	return Settings{Fencing: n.Fencing, Session: n.Session, AddressLease: n.AddressLease}.Validate()
}

// ValidHops reports what keeps addresses from being a node's, by which other nodes reach its containers; what is the list's place, for
// the error.
func ValidHops(what string, hops []netip.Addr) error {
	for i, a := range hops {
		switch {
		case !a.IsGlobalUnicast() || a.Is4In6() || a.Zone() != "":
			return fmt.Errorf("%s %q: want an address by which other nodes reach this one", what, a)
		case slices.ContainsFunc(hops[:i], func(b netip.Addr) bool { return b.Is4() == a.Is4() }):
			return fmt.Errorf("%s %q: want one address of a family at most", what, a)
		}
	}
	return nil
}

func validStatus(s *Status, key kv.Key, revision int64) error {
	if err := agreeIfThere("node", s.Node, key.Node); err != nil {
		return err
	}
	if s.Applied > revision || s.Revision > revision {
		return fmt.Errorf("it tells of configuration revision %d, and was itself written at revision %d", max(s.Applied, s.Revision), revision)
	}
	if s.LaggingCount < len(s.Lagging) {
		return fmt.Errorf("laggingCount %d: want %d or more, as many as it names", s.LaggingCount, len(s.Lagging))
	}
	return validCounts(count64{"applied", s.Applied}, count64{"revision", s.Revision}, count64{"batch", s.Batch},
		count64{"containers", int64(s.Containers)})
}

func validPool(p *allocator.Pool, key kv.Key, _ int64) error {
	if err := agree("name", p.Name, key.Pool); err != nil {
		return err
	}
	if n := len(kv.Encode(*p)); n > maxPool {
		return fmt.Errorf("it has %d bytes: want %d at most", n, maxPool)
	}
	return p.Validate()
}

func validBlock(b *Block, key kv.Key, _ int64) error {
	if err := agreeIfThere("pool", b.Pool, key.Pool); err != nil {
		return err
	}
	if err := validPrefix("prefix", b.Prefix); err != nil {
		return err
	}
	switch {
	case b.Prefix.Addr() != key.Address:
		return fmt.Errorf("prefix %s: want one that begins with %s, as its key says", b.Prefix, key.Address)
	case b.Prefix.Addr().BitLen()-b.Prefix.Bits() > allocator.MaxBlockBits:
		return fmt.Errorf("prefix %s: want /%d or smaller", b.Prefix, b.Prefix.Addr().BitLen()-allocator.MaxBlockBits)
	case len(b.Parts) > maxPartsFound:
		return fmt.Errorf("it has %d parts: want %d at most", len(b.Parts), maxPartsFound)
	}
	for _, p := range b.Parts {
		if err := validPart(b, p); err != nil {
			return err
		}
	}
	ordered := slices.SortedFunc(slices.Values(b.Parts), func(a, b Part) int { return a.Prefix.Compare(b.Prefix) })
	for i := 1; i < len(ordered); i++ {
		if last, p := ordered[i-1], ordered[i]; last.Prefix.Overlaps(p.Prefix) {
			return fmt.Errorf("parts %s of %s and %s of %s overlap", last.Prefix, last.Owner, p.Prefix, p.Owner)
		}
	}
	return nil
}

func validPart(b *Block, p Part) error {
	if err := validPrefix("part", p.Prefix); err != nil {
		return err
	}
	if p.Prefix.Bits() < b.Prefix.Bits() || !b.Prefix.Contains(p.Prefix.Addr()) {
		return fmt.Errorf("part %s lies outside of its block %s", p.Prefix, b.Prefix)
	}
	if p.Owner == OwnerMachine {
		return ValidNode("node of part "+p.Prefix.String(), p.Node)
	}
	return allocator.ValidName("owner of part "+p.Prefix.String(), p.Owner)
}

func validAssignment(a *Assignment, key kv.Key, _ int64) error {
	err := errors.Join(agreeIfThere("pool", a.Pool, key.Pool), agreeAddress(a.Address, key.Address))
	if err != nil {
		return err
	}
	return firstOf(a.Attachment.Validate(), validApp(a.App), ValidNode("node", a.Node))
}

// validApp wants an app, or none, or a namespace alone.
func validApp(a allocator.App) error {
	for _, each := range []struct{ what, name string }{{"namespace", a.Namespace}, {"app", a.Name}} {
		if each.name == "" {
			continue
		}
		if err := allocator.ValidName(each.what, each.name); err != nil {
			return err
		}
	}
	return nil
}

func validReservation(r *Reservation, key kv.Key, _ int64) error {
	err := firstOf(agreeIfThere("pool", r.Pool, key.Pool), agreeAddress(r.Address, key.Address), r.Identity.Validate(),
		validCounts(count64{"epoch", r.Epoch}))
	if err != nil || r.Holder == nil {
		return err
	}
	if err := firstOf(r.Holder.Attachment.Validate(), ValidNode("node", r.Holder.Node)); err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	return nil
}

func validIdentityRecord(r *IdentityRecord, _ kv.Key, _ int64) error {
	if err := allocator.ValidName("pool", r.Pool); err != nil {
		return err
	}
	if len(r.Addresses) == 0 {
		return errors.New("addresses is empty: want one address of each of the pool's families")
	}
	var seen [2]bool
	for _, a := range r.Addresses {
		if err := kv.ValidAddress(a); err != nil {
			return err
		}
		f := allocator.FamilyOf(a)
		if seen[f] {
			return fmt.Errorf("address %s is the second one of its family: want one of each at most", a)
		}
		seen[f] = true
	}
	return nil
}

func validDemand(d *Demand, key kv.Key, _ int64) error {
	return firstOf(agreeIfThere("pool", d.Pool, key.Pool), agreeIfThere("node", d.Node, key.Node),
		validCounts(count64{"v4", int64(d.V4)}, count64{"v6", int64(d.V6)}))
}

// validHistory wants a number that is the key's. What a pool was is not asked for here: who goes back to it, asks.
func validHistory(h *HistoryEntry, key kv.Key, _ int64) error {
	if h.Number != key.Number {
		return fmt.Errorf("number %d: want %d, as its key says", h.Number, key.Number)
	}
	return nil
}

func validQuestion(q *ReportRequest, key kv.Key, _ int64) error {
	return agreeIfThere("slot", q.Slot, key.Question)
}

func validAnswer(a *NodeReport, key kv.Key, _ int64) error {
	if err := firstOf(agreeIfThere("node", a.Node, key.Node), agreeIfThere("slot", a.Slot, key.Question)); err != nil {
		return err
	}
	if key.Node == "" {
		return errors.New("its key names no node")
	}
	for _, s := range a.Spaces {
		for _, p := range s.Parts {
			if err := validPrefix("part", p); err != nil {
				return err
			}
		}
	}
	for _, h := range a.Attachments {
		for _, addr := range h.Addresses {
			if err := kv.ValidAddress(addr); err != nil {
				return err
			}
		}
	}
	return nil
}

// agree reports a value that contradicts the record's key.
func agree(what, value, key string) error {
	if value != key {
		return fmt.Errorf("%s %q: want %q, as its key says", what, value, key)
	}
	return nil
}

func agreeIfThere(what, value, key string) error {
	if value == "" {
		return nil
	}
	return agree(what, value, key)
}

func agreeAddress(value, key netip.Addr) error {
	if !value.IsValid() || value == key {
		return nil
	}
	return fmt.Errorf("address %s: want %s, as its key says", value, key)
}

// validPrefix wants p to be its own network's prefix, of an address that a key can name.
func validPrefix(what string, p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("%s is missing", what)
	case p != p.Masked():
		return fmt.Errorf("%s %s has bits beyond its length: want %s", what, p, p.Masked())
	}
	return kv.ValidAddress(p.Addr())
}

type count64 struct {
	what  string
	value int64
}

func validCounts(all ...count64) error {
	for _, c := range all {
		if c.value < 0 || c.value > kv.MaxCount {
			return fmt.Errorf("%s %d: want 0 to %d", c.what, c.value, int64(kv.MaxCount))
		}
	}
	return nil
}

// firstOf is the first error that there is.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
