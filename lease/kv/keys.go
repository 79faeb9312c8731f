package kv

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/allocator"
)

// DefaultPrefix is where Berth's keys lie in etcd.
const DefaultPrefix = "/berth/v1"

// Keys builds and reads all of Berth's keys. Every name in a key has passed allocator.ValidName or the kernel's rule
// for interfaces, so it has no slash: no key can be forged, and none can be taken for another.
type Keys struct{ Prefix string }

// NewKeys gives the keys under a prefix; the empty one means DefaultPrefix.
func NewKeys(prefix string) Keys {
	if prefix = strings.TrimRight(prefix, "/"); prefix == "" {
		prefix = DefaultPrefix
	}
	return Keys{prefix + "/"}
}

// A Kind is what a key's record is about: the part of the key that comes first.
type Kind string

// KindCluster and the others are all that there are.
const (
	KindCluster     Kind = "cluster"
	KindRevision    Kind = "config/revision"
	KindSettings    Kind = "config/settings"
	KindHistory     Kind = "config/history"
	KindPool        Kind = "config/pools"
	KindNode        Kind = "nodes"
	KindSession     Kind = "sessions"
	KindStatus      Kind = "status"
	KindBlock       Kind = "blocks"
	KindAssignment  Kind = "assignments"
	KindReservation Kind = "reservations"
	KindIdentity    Kind = "identities"
	KindDemand      Kind = "demands"
	KindQuestion    Kind = "questions"
	KindCheck       Kind = "checks/connectivity"
)

// A Key is a key in its parts. Which fields are set depends on its Kind.
type Key struct {
	Kind     Kind
	Number   int64              // KindHistory
	Node     string             // KindNode, KindSession, KindStatus, KindDemand; KindQuestion, KindCheck: who answers, empty in the own key
	Pool     string             // KindPool, KindBlock, KindAssignment, KindReservation, KindDemand
	Address  netip.Addr         // KindBlock (its first one), KindAssignment, KindReservation
	Identity allocator.Identity // KindIdentity
	Question string             // KindQuestion: its slot
}

// Of is the one place where a key is built.
func (k Keys) Of(key Key) string {
	at := k.Prefix + string(key.Kind)
	switch key.Kind {
	case KindHistory:
		return at + "/" + strconv.FormatInt(key.Number, 10)
	case KindPool:
		return at + "/" + key.Pool
	case KindNode, KindSession, KindStatus:
		return at + "/" + key.Node
	case KindBlock, KindAssignment, KindReservation:
		return at + "/" + key.Pool + "/" + key.Address.String()
	case KindDemand:
		return at + "/" + key.Pool + "/" + key.Node
	case KindIdentity:
		i := key.Identity
		return strings.Join([]string{at, i.Network, i.Namespace, i.App, i.Member, i.Interface}, "/")
	case KindQuestion:
		if at += "/" + key.Question; key.Node != "" {
			at += "/" + key.Node
		}
	case KindCheck:
		if key.Node != "" {
			at += "/" + key.Node
		}
	}
	return at
}

// Under is the prefix of all keys of a kind; with a pool, of those of the pool.
func (k Keys) Under(kind Kind, pool ...string) string {
	return k.Prefix + strings.Join(append([]string{string(kind)}, pool...), "/") + "/"
}

// part is the beginning that a key has in common with all of its kind: what a role in etcd gives a right to.
func (k Keys) part(key string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(key, k.Prefix), "/")
	return k.Prefix + first
}

// Cluster is the one key of its kind.
func (k Keys) Cluster() string { return k.Of(Key{Kind: KindCluster}) }

// Revision is the one key of its kind.
func (k Keys) Revision() string { return k.Of(Key{Kind: KindRevision}) }

// Settings is the one key of its kind.
func (k Keys) Settings() string { return k.Of(Key{Kind: KindSettings}) }

// History is the key of one.
func (k Keys) History(number int64) string { return k.Of(Key{Kind: KindHistory, Number: number}) }

// Pool is the key of one.
func (k Keys) Pool(name string) string { return k.Of(Key{Kind: KindPool, Pool: name}) }

// Node is the key of one.
func (k Keys) Node(name string) string { return k.Of(Key{Kind: KindNode, Node: name}) }

// Session is the key of one.
func (k Keys) Session(node string) string { return k.Of(Key{Kind: KindSession, Node: node}) }

// Status is the key of one.
func (k Keys) Status(node string) string { return k.Of(Key{Kind: KindStatus, Node: node}) }

// Question is the key of one.
func (k Keys) Question(slot string) string { return k.Of(Key{Kind: KindQuestion, Question: slot}) }

// Answer is the key of one.
func (k Keys) Answer(slot, node string) string {
	return k.Of(Key{Kind: KindQuestion, Question: slot, Node: node})
}

// Check is the one key of its kind that is no answer's.
func (k Keys) Check() string { return k.Of(Key{Kind: KindCheck}) }

// CheckAnswer is the key of one.
func (k Keys) CheckAnswer(node string) string { return k.Of(Key{Kind: KindCheck, Node: node}) }

// Identity is the key of one.
func (k Keys) Identity(i allocator.Identity) string {
	return k.Of(Key{Kind: KindIdentity, Identity: i})
}

// Demand is the key of one.
func (k Keys) Demand(pool, node string) string {
	return k.Of(Key{Kind: KindDemand, Pool: pool, Node: node})
}

// Block is the key of one.
func (k Keys) Block(pool string, block netip.Prefix) string {
	return k.Of(Key{Kind: KindBlock, Pool: pool, Address: block.Addr()})
}

// Assignment is the key of one.
func (k Keys) Assignment(pool string, a netip.Addr) string {
	return k.Of(Key{Kind: KindAssignment, Pool: pool, Address: a})
}

// Reservation is the key of one.
func (k Keys) Reservation(pool string, a netip.Addr) string {
	return k.Of(Key{Kind: KindReservation, Pool: pool, Address: a})
}

// Parse reads a key. What it accepts is what Of builds from valid names, and nothing else.
func (k Keys) Parse(key string) (Key, error) {
	rest, ours := strings.CutPrefix(key, k.Prefix)
	if !ours {
		return Key{}, fmt.Errorf("lease: key %q: want one under %s", key, k.Prefix)
	}
	parsed, err := parse(rest)
	if err != nil {
		return Key{}, fmt.Errorf("lease: key %q: %w", key, err)
	}
	if k.Of(parsed) != key {
		return Key{}, fmt.Errorf("lease: key %q: want it written %q", key, k.Of(parsed))
	}
	return parsed, nil
}

func parse(rest string) (key Key, err error) {
	kind, names := split(rest)
	key = Key{Kind: kind}
	if want := lengths[kind]; len(names) != want && !(answered[kind] && len(names) == want+1) {
		return key, fmt.Errorf("it has %d names after %q: want %d", len(names), kind, want)
	}
	switch kind {
	case KindCluster, KindRevision, KindSettings:
	case KindHistory:
		if key.Number, err = strconv.ParseInt(names[0], 10, 64); err == nil && (key.Number < 0 || key.Number > MaxCount) {
			err = fmt.Errorf("number %d: want the number of a change", key.Number)
		}
	case KindPool:
		key.Pool, err = names[0], allocator.ValidName("pool", names[0])
	case KindNode, KindSession, KindStatus:
		key.Node, err = names[0], allocator.ValidName("node", names[0])
	case KindBlock, KindAssignment, KindReservation:
		if err = allocator.ValidName("pool", names[0]); err == nil {
			key.Pool = names[0]
			key.Address, err = netip.ParseAddr(names[1])
		}
		if err == nil {
			err = ValidAddress(key.Address)
		}
	case KindDemand:
		key.Pool, key.Node = names[0], names[1]
		if err = allocator.ValidName("pool", key.Pool); err == nil {
			err = allocator.ValidName("node", key.Node)
		}
	case KindIdentity:
		key.Identity = allocator.Identity{Network: names[0], Namespace: names[1], App: names[2], Member: names[3], Interface: names[4]}
		err = key.Identity.Validate()
	case KindQuestion:
		key.Question, err = names[0], allocator.ValidName("question", names[0])
		if err == nil && len(names) > 1 {
			key.Node, err = names[1], allocator.ValidName("node", names[1])
		}
	case KindCheck:
		if len(names) > 0 {
			key.Node, err = names[0], allocator.ValidName("node", names[0])
		}
	default:
		err = fmt.Errorf("no record is of kind %q", kind)
	}
	return key, err
}

// lengths is how many names follow the kind; in an answer's key the node's follows the question's.
var lengths = map[Kind]int{
	KindHistory: 1, KindPool: 1, KindNode: 1, KindSession: 1, KindStatus: 1,
	KindBlock: 2, KindAssignment: 2, KindReservation: 2, KindIdentity: 5,
	KindDemand: 2, KindQuestion: 1,
}

// answered are the kinds whose records nodes answer: an answer's key has the node's name at its end.
var answered = map[Kind]bool{KindQuestion: true, KindCheck: true}

// split takes a kind, of which some have two parts, from the names after it.
func split(rest string) (Kind, []string) {
	parts := strings.Split(rest, "/")
	n := 1
	if (parts[0] == "config" || parts[0] == "checks") && len(parts) > 1 {
		n = 2
	}
	return Kind(strings.Join(parts[:n], "/")), parts[n:]
}

// NodesOf are the nodes that keys name.
func (k Keys) NodesOf(kvs []*mvccpb.KeyValue) map[string]bool {
	names := map[string]bool{}
	for _, kv := range kvs {
		if key, err := k.Parse(string(kv.Key)); err == nil {
			names[key.Node] = true
		}
	}
	return names
}

// What a record of each kind has to be so that it can be built upon. Anybody who may write to etcd can have written it,
// and so it is asked here, and nowhere else, for all that the code behind relies on. What follows from another record,
// such as a pool's size of blocks, is asked where both are known.

// MaxCount bounds what is counted on from, so that it cannot overflow.
const MaxCount = 1 << 62

// ValidAddress reports what keeps an address from being in a key.
func ValidAddress(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return errors.New("an address is missing")
	case a.Zone() != "":
		return fmt.Errorf("address %s has a zone: want none", a)
	case a.Is4In6():
		return fmt.Errorf("address %s: want %s", a, a.Unmap())
	}
	return nil
}
